"""Ref-DAVIS17 in both layouts, and DAVIS 2016 with genuine frames and masks."""

import json

import clip_datasets
import numpy as np
import pytest
from PIL import Image

from instructseg.data.check_clips import check_clip
from instructseg.data.readers.clip_masks import object_numbers
from instructseg.data.readers.davis2016 import VAL, Davis2016
from instructseg.data.readers.frames import LazyPictures, read_labels
from instructseg.data.readers.ref_davis import RefDavis
from instructseg.errors import DataError

FRAMES = ["00000", "00001", "00002"]
SENTENCES = [[f"object {number} by {annotator}" for annotator in range(4)] for number in (1, 2)]


def write_masks(folder):
    maps = clip_datasets.label_maps(3)
    maps[0][23, 31] = 255
    for name, labels in zip(FRAMES, maps, strict=True):
        clip_datasets.write_labels(folder / f"{name}.png", labels)
    return maps


def write_converted(root):
    """As the common conversion to Ref-YouTube-VOS's layout leaves it."""
    texts = [(number, text) for number, group in enumerate(SENTENCES, start=1) for text in group]
    expressions = {str(at): {"exp": text, "obj_id": str(number)} for at, (number, text) in enumerate(texts)}
    videos = {"judo": {"expressions": expressions, "frames": FRAMES}}
    clip_datasets.write_json(root / "meta_expressions/valid/meta_expressions.json", {"videos": videos})
    clip_datasets.write_frames(root / "valid/JPEGImages/judo", FRAMES)
    return write_masks(root / "valid/Annotations/judo")


def write_published(root):
    """The archives of DAVIS and of the sentences, side by side; the second annotator's text is latin-1."""
    texts = root / "davis_text_annotations"
    texts.mkdir()
    for annotator, name in enumerate(("annot1", "annot1_full_video", "annot2", "annot2_full_video")):
        lines = [f'judo {number} "{SENTENCES[number - 1][annotator]}"' for number in (2, 1)]
        encoding = "latin-1" if name.startswith("annot2") else "utf-8"
        lines.append('clasic-car 1 "the old caf\u00e9 racer"')
        (texts / f"Davis17_{name}.txt").write_text("\n".join(lines) + "\n", encoding=encoding)
    davis = root / "DAVIS"
    (davis / "ImageSets/2017").mkdir(parents=True)
    (davis / "ImageSets/2017/val.txt").write_text("judo\n")
    (davis / "ImageSets/2017/train.txt").write_text("classic-car\n")
    for name in ("judo", "classic-car"):
        clip_datasets.write_frames(davis / "JPEGImages/480p" / name, FRAMES)
        maps = write_masks(davis / "Annotations_unsupervised/480p" / name)
    return maps


@pytest.mark.parametrize("write", [write_converted, write_published])
def test_four_annotators(tmp_path, write):
    maps = write(tmp_path)
    reader = RefDavis(tmp_path, "valid")
    sample = reader[0]
    assert len(reader) == 1 and sample.id == "ref_davis/judo" and sample.frame_names == tuple(FRAMES)
    assert [each.id for each in sample.expressions] == [str(at) for at in range(8)]
    for annotator in range(4):
        chosen = [each for each in sample.expressions if each.details["annotator"] == annotator]
        assert [each.text for each in chosen] == [f"object {number} by {annotator}" for number in (1, 2)]
        assert {each.kind for each in chosen} == {"full_video" if annotator in (1, 3) else "first_frame"}
        for number, expression in enumerate(chosen, start=1):
            pairs = zip(expression.masks, maps, strict=True)
            assert all(np.array_equal(mask, labels == number) for mask, labels in pairs)
    assert np.array_equal(reader.labels(0)[0], maps[0]) and (reader.labels(0)[0] == 255).sum() == 1
    check_clip(sample)


def test_misspelt_names_and_other_encodings_of_the_published_text(tmp_path):
    write_published(tmp_path)
    sample = RefDavis(tmp_path, "train")[0]
    assert sample.id == "ref_davis/classic-car"
    assert [each.text for each in sample.expressions] == ["the old caf\u00e9 racer"] * 4


def test_ref_davis_damage_is_named(tmp_path):
    write_converted(tmp_path)
    listing = tmp_path / "meta_expressions/valid/meta_expressions.json"
    content = json.loads(listing.read_text())
    content["videos"]["judo"]["expressions"]["3"]["obj_id"] = "2"
    clip_datasets.write_json(listing, content)
    with pytest.raises(
        DataError, match=r"clip judo is invalid .object 1 has 3 expressions, expected 4, one per annotator"
    ):
        RefDavis(tmp_path)
    for at in range(4):
        content["videos"]["judo"]["expressions"][str(at)]["obj_id"] = "9"
    clip_datasets.write_json(listing, content)
    with pytest.raises(DataError, match=r"expression 0 of clip judo refers to object 9, which no mask in .*judo shows"):
        RefDavis(tmp_path)[0]
    write_converted(tmp_path)
    (tmp_path / "valid/Annotations/judo/00001.png").unlink()
    with pytest.raises(DataError, match=r"00001\.png is missing"):
        RefDavis(tmp_path)[0]
    with pytest.raises(DataError, match="no split 'val'"):
        RefDavis(tmp_path, "val")
    listing.unlink()
    with pytest.raises(DataError, match=r"meta_expressions\.json cannot be opened"):
        RefDavis(tmp_path)


def test_ref_davis_published_text_damage_is_named(tmp_path):
    write_published(tmp_path)
    path = tmp_path / "davis_text_annotations/Davis17_annot2.txt"
    path.write_text('judo 1 "object 1 by 2"\n')
    with pytest.raises(DataError, match="davis_text_annotations: clip judo is invalid"):
        RefDavis(tmp_path)
    path.write_text("judo 1\n")
    with pytest.raises(DataError, match=r"Davis17_annot2\.txt: line 1 is invalid"):
        RefDavis(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"Davis17_annot2\.txt cannot be read"):
        RefDavis(tmp_path)


def test_genuine_palette_masks(shared_data):
    """First frames of DAVIS 2017: object numbers survive as they are, gaps (lab-coat) and all."""
    folder = shared_data / "data/davis_official_results/2017/osvos_first_frame_gt_multi"
    found = {path.name: object_numbers(LazyPictures([path / "00000.png"], read_labels)) for path in folder.iterdir()}
    assert len(found) == 17
    assert found["gold-fish"] == {1, 2, 3, 4, 5} and found["lab-coat"] == {3, 4, 5} and found["judo"] == {1, 2}


def test_genuine_davis2016(shared_data):
    reader = Davis2016(shared_data / "data" / "davis2016", "val")
    assert len(reader) == 14 and reader.frame_size == "240p" and len(VAL) == 20
    sample = next(sample for sample in reader if sample.id == "davis2016/car-shadow")
    assert len(sample.frames) == len(sample.expressions[0].masks) == len(sample.frame_names) == 40
    assert sample.frames[39].shape == (240, 428, 3), "frames are a smaller copy"
    mask = sample.expressions[0].masks[39]
    assert mask.shape == (480, 854) and mask.dtype == bool, "masks stay as they were drawn"
    path = shared_data / "data/davis2016/Annotations/480p/car-shadow/00039.png"
    assert np.array_equal(mask, np.asarray(Image.open(path)) == 255)
    assert [each.id for each in sample.expressions] == ["0", "1", "2"]


def test_the_one_mask_of_two_channels(shared_data):
    (sample,) = Davis2016(shared_data / "data" / "davis2016", "train")
    path = shared_data / "data/davis2016/Annotations/480p/bear/00077.png"
    assert sample.id == "davis2016/bear" and Image.open(path).mode == "LA"
    mask, before = sample.expressions[0].masks[77], sample.expressions[0].masks[76]
    assert np.array_equal(mask, np.asarray(Image.open(path))[..., 0] > 0)
    assert (mask & before).sum() > 0.9 * (mask | before).sum(), "the bear hardly moves between two frames"


def write_davis2016(root, size="480p"):
    videos = {"bear": {"frames": FRAMES, "expressions": {"0": {"exp": "the bear", "obj_id": "1"}}}}
    clip_datasets.write_json(root / "meta_expressions.json", {"videos": videos})
    clip_datasets.write_frames(root / "JPEGImages" / size / "bear", FRAMES)
    folder = root / "Annotations/480p/bear"
    folder.mkdir(parents=True)
    for name in FRAMES:
        Image.fromarray((clip_datasets.label_maps(3)[1] == 1).astype(np.uint8) * 255).save(folder / f"{name}.png")
    return folder


def test_davis2016_damage_is_named(tmp_path):
    folder = write_davis2016(tmp_path)
    assert Davis2016(tmp_path, "train").frame_size == "480p"
    with pytest.raises(DataError, match="no expressions for any val sequence"):
        Davis2016(tmp_path, "val")
    (folder / "00003.png").write_bytes((folder / "00002.png").read_bytes())
    with pytest.raises(DataError, match=r"bear has 4 masks, but .*meta_expressions\.json lists 3 frames of bear"):
        Davis2016(tmp_path, "train")[0]
    (folder / "00003.png").unlink()
    sample = Davis2016(tmp_path, "train")[0]
    clip_datasets.write_labels(folder / "00002.png", clip_datasets.label_maps(3)[1])
    with pytest.raises(DataError, match=r"00002\.png has the non-zero values \[1, 2\]"):
        check_clip(sample)
    (folder / "00002.png").unlink()
    with pytest.raises(DataError, match=r"00002\.png is missing"):
        Davis2016(tmp_path, "train")[0]
    (tmp_path / "JPEGImages/480p").rename(tmp_path / "JPEGImages/other")
    with pytest.raises(DataError, match=r"480p/bear is missing \(1 of 1 sequences\)"):
        Davis2016(tmp_path, "train")
    (tmp_path / "meta_expressions_other.json").write_text("{}")
    with pytest.raises(DataError, match=r"expected one file meta_expressions\*\.json in .*, got 2"):
        Davis2016(tmp_path, "train")
