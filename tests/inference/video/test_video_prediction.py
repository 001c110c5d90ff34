"""A clip's prediction and its files."""

import json

import av
import numpy as np
import pytest
from PIL import Image
from tiny_clips import encode, pictures

from instructseg.errors import InputError
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.results import VideoPrediction
from instructseg.media.masks import rle_to_mask, voc_colormap
from instructseg.media.video import ReadOptions, open_clip
from instructseg.types import Task

TEXTS = ("the red ball", "the dog")


def masks_of(number, height=48, width=64):
    """Two instructions: a square that moves to the right, and another in frames 2 and 3 only, over it."""
    masks = np.zeros((2, height, width), bool)
    masks[0, 10:30, 4 * number : 4 * number + 16] = True
    masks[1, 20:40, 8:24] = number in (2, 3)
    return masks


def answer(images, source=None, texts=TEXTS, error=None, **options):
    """What the engine would predict for these frames."""
    frames = []
    for number, frame in enumerate(open_clip(images if source is None else source, ReadOptions(**options))):
        masks = masks_of(number, *frame.image.shape[:2])[: len(texts)]
        scores = np.linspace(0.9, 0.1, len(texts)).astype(np.float32)
        result = StreamedFramePrediction(frame.index, frame.time, frame.name, frame.image, texts, masks, scores)
        frames.append(result.compress())
    tasks = (Task.RVOS,) * len(texts)
    return VideoPrediction(texts, tasks, tuple(frames), source and str(source), "fake", error, ReadOptions(**options))


def test_one_frame():
    result = StreamedFramePrediction(7, 0.5, "x", pictures(1)[0], TEXTS, masks_of(0), np.array([0.9, 0.1], np.float32))
    assert result.present.tolist() == [True, False]
    drawn = result.overlay()
    assert drawn.shape == (48, 64, 3) and (drawn != result.image).any()
    back = result.compress()
    assert (back.masks == result.masks).all() and back.masks.dtype == bool and back.size == result.size == (48, 64)
    for name in ("index", "time", "name", "instructions"):
        assert getattr(back, name) == getattr(result, name)
    assert (back.present == result.present).all() and (back.scores == result.scores).all()
    assert (back.overlay(result.image) == drawn).all()


def test_reprs_are_short():
    frame = StreamedFramePrediction(7, 0.5, "x", pictures(1)[0], TEXTS, masks_of(0), np.array([0.9, 0.1], np.float32))
    rest = "index=7, time=0.500, instructions=['the red ball', 'the dog'], present=[True, False], best_score=0.900, "
    assert repr(frame) == f"StreamedFramePrediction({rest}size=(48, 64))"
    assert repr(frame.compress()) == f"StoredFramePrediction({rest}size=(48, 64))"
    assert repr(answer(pictures(4))) == (
        "VideoPrediction(instructions=['the red ball', 'the dog'], tasks=['rvos', 'rvos'], frames=4, "
        "frames_with_object=[4, 2], best_score=0.900, size=(48, 64), error=None)"
    )
    assert "frames=0" in repr(VideoPrediction(TEXTS, (Task.RVOS, Task.RVOS), ()))


def test_what_a_prediction_says():
    prediction = answer(pictures(5))
    assert len(prediction) == 5 and prediction and prediction.found
    assert prediction.present.tolist() == [[True, number in (2, 3)] for number in range(5)]
    assert prediction.scores.shape == (5, 2) and prediction.scores.dtype == np.float32
    assert all((prediction.frames[number].masks == masks_of(number)).all() for number in range(5))
    empty = VideoPrediction(TEXTS, (Task.RVOS, Task.RVOS), ())
    assert empty.present.shape == empty.scores.shape == (0, 2) and not empty.found and bool(empty)


def test_json():
    content = json.loads(json.dumps(answer(pictures(4), error="cut off").to_dict()))
    assert content["instructions"] == list(TEXTS) and content["error"] == "cut off" and content["found"] == [True, True]
    third = content["frames"][2]
    assert (third["index"], third["time"], third["size"]) == (2, 0.08, [48, 64])
    assert [
        (rle_to_mask(each["segmentation"]) == mask).all()
        for each, mask in zip(third["objects"], masks_of(2), strict=True)
    ]
    absent = content["frames"][0]["objects"][1]
    assert absent["segmentation"] is None and not absent["present"] and absent["score"] == pytest.approx(0.1)


class TestFiles:
    def test_several_objects(self, tmp_path):
        source = encode(tmp_path / "walk.mp4", pictures(5), sound="aac")
        saved = answer(None, source).save(tmp_path / "out")
        stem = "walk.the-red-ball-and-1-more"
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            f"{stem}.json", f"{stem}.masks", f"{stem}.overlay.mp4",
        ]  # fmt: skip
        png = Image.open(saved.masks / "00002.png")
        assert png.mode == "P" and png.getpalette()[:9] == voc_colormap()[:3].ravel().tolist()
        labels = np.array(png)
        assert (labels[masks_of(2)[0]] == 1).all() and (labels[masks_of(2)[1] & ~masks_of(2)[0]] == 2).all()
        assert len(list(saved.masks.iterdir())) == 5
        frames = list(open_clip(saved.overlay))
        assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        with av.open(str(saved.overlay)) as container:
            assert len(container.streams.audio) == 1
        assert json.loads(saved.json.read_text()) == answer(None, source).to_dict()
        assert saved.to_dict()["overlay"] == str(saved.overlay)

    def test_one_object_and_part_of_a_clip(self, tmp_path):
        source = encode(tmp_path / "walk.mp4", pictures(20))
        saved = answer(None, source, TEXTS[:1], every=4, start=0.5, max_side=32).save(tmp_path, stem="mine")
        assert sorted(path.name for path in saved.masks.iterdir()) == [
            "00000.png",
            "00004.png",
            "00008.png",
            "00012.png",
        ]
        assert Image.open(saved.masks / "00000.png").mode == "L"
        overlay = list(open_clip(saved.overlay))
        assert [frame.time for frame in overlay] == pytest.approx([0, 0.4, 0.8, 1.2])
        assert overlay[0].image.shape == (24, 32, 3)

    def test_folders_keep_their_names(self, tmp_path):
        (tmp_path / "frames").mkdir()
        for number, image in enumerate(pictures(3)):
            Image.fromarray(image).save(tmp_path / "frames" / f"{10 * number:05d}.png")
        saved = answer(None, tmp_path / "frames").save(tmp_path)
        assert sorted(path.name for path in saved.masks.iterdir()) == ["00000.png", "00010.png", "00020.png"]
        assert len(list(open_clip(saved.overlay))) == 3

    def test_images_from_memory_need_the_source_for_the_overlay(self, tmp_path):
        assert answer(pictures(3)).save(tmp_path, "a").overlay is None
        assert answer(pictures(3)).save(tmp_path, "b", source=pictures(3)).overlay.is_file()
        assert answer(pictures(3)).save(tmp_path, "c", source=iter(pictures(3))).overlay is None

    def test_answers_to_the_same_question_replace_each_other(self, tmp_path):
        source = encode(tmp_path / "walk.mp4", pictures(6))
        first = answer(None, source).save(tmp_path)
        second = answer(None, source, every=3).save(tmp_path)
        assert first == second and len(list(second.masks.iterdir())) == 2
        other = answer(None, source, (TEXTS[0], "the cat")).save(tmp_path)
        assert other.json.name == "walk.the-red-ball-and-1-more-2.json"
        assert not list(tmp_path.glob(".*"))

    def test_a_damaged_clip_is_drawn_as_far_as_it_goes(self, tmp_path):
        source = encode(tmp_path / "walk.mp4", pictures(5))
        whole = answer(None, source)
        part = VideoPrediction(TEXTS, whole.tasks, whole.frames[:3], str(source), "fake", "cut off")
        assert len(list(open_clip(part.save(tmp_path).overlay))) == 3

    @pytest.mark.parametrize("stem", ["", "a/b", "..", "a:b"])
    def test_bad_names(self, stem, tmp_path):
        with pytest.raises(InputError, match="expected stem to be a plain file name"):
            answer(pictures(2)).save(tmp_path, stem)

    def test_no_place_to_write(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be created"):
            answer(pictures(2)).save(tmp_path / "file" / "out")
