"""MeViS and ReVOS (masks in mask_dict.json) and JHMDB-Sentences, written in their layouts."""

import json

import clip_datasets
import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.data.check_clips import check_clip
from instructseg.data.readers.jhmdb import JhmdbSentences
from instructseg.data.readers.mevis import MeVis
from instructseg.data.readers.revos import ReVos
from instructseg.errors import DataError
from instructseg.types import Task

FRAMES = ["00000", "00001", "00002"]
MAPS = clip_datasets.label_maps(3)


def codes_of(number):
    """As the published files have it: None where the object is not in the frame."""
    return [clip_datasets.rle(labels == number) if (labels == number).any() else None for labels in MAPS]


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    clip_datasets.write_json(path, content)


def write_mevis(root, split="valid_u"):
    expressions = {
        "0": {"exp": "the one that leaves", "obj_id": [0], "anno_id": [17]},
        "1": {"exp": "both", "obj_id": [0, 1], "anno_id": [17, 18]},
        "2": {"exp": "the flying elephant", "obj_id": [], "anno_id": []},
    }
    if split == "valid":
        expressions = {key: {"exp": entry["exp"]} for key, entry in expressions.items()}
    else:
        codes = {"17": codes_of(1), "18": codes_of(2), "99": [None]}
        clip_datasets.write_json(root / split / "mask_dict.json", codes)
    videos = {"abc": {"vid_id": 3, "expressions": expressions, "frames": FRAMES}}
    clip_datasets.write_json(root / split / "meta_expressions.json", {"videos": videos})
    clip_datasets.write_frames(root / split / "JPEGImages/abc", FRAMES)


def test_mevis(tmp_path):
    write_mevis(tmp_path)
    sample = MeVis(tmp_path, "valid_u")[0]
    assert sample.id == "mevis/abc" and sample.task is Task.RVOS and len(sample.frames) == 3
    wanted = {"0": (1,), "1": (1, 2), "2": ()}
    for expression in sample.expressions:
        for mask, labels in zip(expression.masks, MAPS, strict=True):
            assert np.array_equal(mask, np.isin(labels, wanted[expression.id]))
    assert [each.kind for each in sample.expressions] == ["human", "human", "absent"]
    check_clip(sample)


def test_mevis_without_public_truth(tmp_path):
    write_mevis(tmp_path, "valid")
    (sample,) = MeVis(tmp_path, "valid")
    assert [each.masks for each in sample.expressions] == [None] * 3 and sample.frame_names == tuple(FRAMES)


def test_mask_dict_damage_is_named(tmp_path):
    write_mevis(tmp_path)
    path = tmp_path / "valid_u/mask_dict.json"
    whole = path.read_text()
    change_json(path, lambda content: content.pop("18"))
    with pytest.raises(DataError, match=r"mask_dict\.json has no masks of annotation 18, which expression 1 of"):
        MeVis(tmp_path)
    path.write_text(whole)
    change_json(path, lambda content: content["18"].pop())
    with pytest.raises(DataError, match=r"mask_dict\.json: annotation 18 has masks of 2 frames, but clip abc .* has 3"):
        MeVis(tmp_path)
    path.write_text(whole)
    change_json(path, lambda content: content.update({"17": [None] * 3}))
    with pytest.raises(
        DataError, match=r"expression '0' \(the one that leaves\) refers to 17, which no annotated frame"
    ):
        check_clip(MeVis(tmp_path)[0])
    path.write_text(whole)
    change_json(path, lambda content: content["17"][1].update(size=[32, 24]))
    with pytest.raises(DataError, match=r"mask_dict\.json, frame 1: the mask is 24 x 32 .* the clip is 32 x 24"):
        check_clip(MeVis(tmp_path)[0])
    path.write_text(whole[:-9])
    with pytest.raises(DataError, match=r"mask_dict\.json is not valid JSON"):
        MeVis(tmp_path)
    path.write_text("[]")
    with pytest.raises(DataError, match=r"mask_dict\.json is not a mapping .* got a list"):
        MeVis(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"mask_dict\.json cannot be opened"):
        MeVis(tmp_path)
    path.write_text(whole)
    change_json(
        tmp_path / "valid_u/meta_expressions.json",
        lambda content: content["videos"]["abc"]["expressions"]["0"].pop("anno_id"),
    )
    with pytest.raises(DataError, match=r"meta_expressions\.json: clip abc is invalid .*anno_id"):
        MeVis(tmp_path)
    with pytest.raises(DataError, match="no split 'val'"):
        MeVis(tmp_path, "val")


def write_revos(root, images="JPEGImages"):
    expressions = {
        "0": {"exp": "the dog(s) that leave(s)", "obj_id": [1], "anno_id": [17], "type_id": 0},
        "1": {"exp": "Which one(s) would you sit on?", "obj_id": [2], "anno_id": [18], "type_id": 1},
        "2": {"exp": "Where is the elephant?", "obj_id": [], "anno_id": [], "type_id": 2},
        "3": {"exp": "everything", "obj_id": [1, 2], "anno_id": [17, 18], "type_id": 0},
    }
    video = {"vid_id": 1, "height": 24, "width": 32, "frames": FRAMES, "expressions": expressions}
    only = {**video, "expressions": {"0": expressions["1"]}}
    clip_datasets.write_json(root / "meta_expressions_valid_.json", {"videos": {"abc": video, "xyz": only}})
    clip_datasets.write_json(root / "mask_dict.json", {"17": codes_of(1), "18": codes_of(2)})
    foreground = {"masks_rle": [clip_datasets.rle(labels > 0) for labels in MAPS], "foreground_ratio": [0.1] * 3}
    clip_datasets.write_json(root / "mask_dict_foreground.json", {"abc": foreground, "xyz": foreground})
    for name in ("abc", "xyz"):
        clip_datasets.write_frames(root / images / name, FRAMES)


@pytest.mark.parametrize("images", ["JPEGImages", "."])
def test_revos_splits_a_clip_by_task(tmp_path, images):
    write_revos(tmp_path, images)
    reader = ReVos(tmp_path, "valid")
    samples = list(reader)
    assert [(each.id, each.task) for each in samples] == [
        ("revos/abc/referring", Task.RVOS),
        ("revos/abc/reasoning", Task.REASON_VOS),
        ("revos/xyz/reasoning", Task.REASON_VOS),
    ]
    referring, reasoning, _ = samples
    assert [(each.id, each.text, each.kind) for each in referring.expressions] == [
        ("0", "the dog that leave", "referring"),
        ("3", "everything", "referring"),
    ]
    assert [(each.id, each.kind) for each in reasoning.expressions] == [("1", "reasoning"), ("2", "hallucination")]
    wanted = {"0": (1,), "3": (1, 2), "1": (2,), "2": ()}
    for expression in (*referring.expressions, *reasoning.expressions):
        for mask, labels in zip(expression.masks, MAPS, strict=True):
            assert np.array_equal(mask, np.isin(labels, wanted[expression.id]))
    assert all(np.array_equal(mask, labels > 0) for mask, labels in zip(reader.foreground(2), MAPS, strict=True))
    for sample in samples:
        check_clip(sample)


def test_revos_damage_is_named(tmp_path):
    write_revos(tmp_path)
    listing = tmp_path / "meta_expressions_valid_.json"
    whole = listing.read_text()
    for change in (
        lambda video: video.pop("height"),
        lambda video: video["expressions"]["0"].update(type_id=3),
        lambda video: video["expressions"]["2"].update(anno_id=[17]),
        lambda video: video["expressions"]["0"].update(exp="(s)"),
    ):
        change_json(listing, lambda content, change=change: change(content["videos"]["abc"]))
        with pytest.raises(DataError, match=r"meta_expressions_valid_\.json: clip abc is invalid"):
            ReVos(tmp_path)
        listing.write_text(whole)
    change_json(listing, lambda content: content["videos"]["abc"].update(height=48))
    with pytest.raises(DataError, match=r"00000\.jpg is 32 x 24 pixels, but .*_valid_\.json says 32 x 48"):
        ReVos(tmp_path)[0]
    listing.write_text(whole)
    change_json(tmp_path / "mask_dict_foreground.json", lambda content: content["abc"]["masks_rle"].pop())
    with pytest.raises(DataError, match=r"mask_dict_foreground\.json: clip abc is invalid .*got 2"):
        ReVos(tmp_path).foreground(0)
    (tmp_path / "JPEGImages/abc/00002.jpg").unlink()
    with pytest.raises(DataError, match=r"00002\.jpg is missing"):
        ReVos(tmp_path)[0]


def test_revos_without_the_masks_for_the_robustness_score(tmp_path):
    """All other scores of Table 3 need only mask_dict.json; the check names the missing file and what it is for."""
    write_revos(tmp_path / "revos")
    (tmp_path / "revos/mask_dict_foreground.json").unlink()
    assert ReVos(tmp_path / "revos").foreground(0) is None
    done = CliRunner().invoke(app, ["data", "check", "revos", str(tmp_path), "--split", "valid"])
    assert done.exit_code == 0 and "valid: complete" in done.stdout
    assert "missing  revos/mask_dict_foreground.json  (the union of all objects; without it the" in done.stdout


def write_jhmdb(root):
    frames, masks = root / "Rename_Images/jump/abc", root / "puppet_mask/jump/abc/puppet_mask.mat"
    clip_datasets.write_frames(frames, ["00001", "00002", "00003"], ".png")
    masks.parent.mkdir(parents=True)
    savemat(masks, {"part_mask": np.stack([labels == 1 for labels in MAPS], axis=2).astype(np.uint8)})
    places = [f"./jhmdb_sentences/{path.relative_to(root)}" for path in (frames, masks)]
    rows = [["abc", f"{places[0]}/{number:05d}.png", places[1], 3, "a man jumping"] for number in (1, 3)]
    clip_datasets.write_json(root / "jhmdb_sentences_samples_metadata.json", rows)
    return masks


def test_jhmdb_sentences(tmp_path):
    path = write_jhmdb(tmp_path)
    (sample,) = JhmdbSentences(tmp_path)
    (expression,) = sample.expressions
    assert sample.id == "jhmdb_sentences/abc" and expression.text == "a man jumping" and len(sample.frames) == 3
    assert [mask is None for mask in expression.masks] == [False, True, False]
    assert np.array_equal(expression.masks[0], MAPS[0] == 1) and not expression.masks[-1].any()
    check_clip(sample)
    savemat(path, {"part_mask": np.zeros((24, 32, 2))})
    with pytest.raises(DataError, match=r"puppet_mask\.mat: masks are \(24, 32, 2\), but the clip is \(24, 32, 3\)"):
        check_clip(JhmdbSentences(tmp_path)[0])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"puppet_mask\.mat cannot be read"):
        check_clip(JhmdbSentences(tmp_path)[0])
    clip_datasets.write_json(tmp_path / "jhmdb_sentences_samples_metadata.json", [["abc", "x"]])
    with pytest.raises(DataError, match="the list of labelled frames is invalid"):
        JhmdbSentences(tmp_path)


def test_genuine_jhmdb_list(tmp_path, shared_data):
    name = "jhmdb_sentences_samples_metadata.json"
    (tmp_path / name).write_bytes((shared_data / "data/jhmdb_sentences" / name).read_bytes())
    reader = JhmdbSentences(tmp_path)
    assert len(reader) == 928 and all(len(clip.labelled) == 3 for clip in reader._clips)
    with pytest.raises(DataError, match=r"Rename_Images/pullup/.* cannot be read"):
        reader[0]
