"""The auto-annotation function under the real driver of cvat_sdk; only the server is replaced."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_model
from PIL import Image

from instructseg.annotations.cvat_function import CvatFunction, parse_labels
from instructseg.errors import InputError
from instructseg.inference.segmenter import Segmenter

SENTENCES = {"dog": "the red dog", "cup": "cup"}


def test_labels():
    assert parse_labels("dog=the red dog; cup ;") == SENTENCES
    for wrong in ("", " ; ", "=dog", "dog; dog=the cat"):
        with pytest.raises(InputError, match="label"):
            parse_labels(wrong)


@pytest.mark.parametrize("polygons", [False, True])
def test_a_task_is_annotated(monkeypatch, polygons):
    driver = pytest.importorskip("cvat_sdk.auto_annotation.driver", reason="cvat_sdk is not installed")
    masks, sdk = pytest.importorskip("cvat_sdk.masks"), pytest.importorskip("cvat_sdk.auto_annotation")
    images = [Image.fromarray(tiny_model.photo(40, 56, seed)) for seed in range(2)]
    samples = [
        SimpleNamespace(
            frame_name=f"{at}.png", frame_index=at, media=SimpleNamespace(load_image=lambda at=at: images[at])
        )
        for at in range(2)
    ]
    labels = [
        SimpleNamespace(id=number, name=name, type="any", attributes=[], sublabels=[])
        for number, name in ((70, "cup"), (71, "dog"))
    ]
    monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: SimpleNamespace(labels=labels, samples=samples))
    sent = []
    api = SimpleNamespace(
        partial_update_annotations=lambda *_, patched_labeled_data_request: sent.append(patched_labeled_data_request)
    )
    client = SimpleNamespace(logger=logging.getLogger("cvat"), tasks=SimpleNamespace(api=api))
    segmenter = Segmenter(*tiny_model.build())
    sdk.annotate_task(client, 1, CvatFunction(segmenter, SENTENCES), conf_threshold=0.0, conv_mask_to_poly=polygons)
    shapes = sent[0].shapes
    assert {shape.type.value for shape in shapes} == {"polygon" if polygons else "mask"}
    assert {shape.label_id for shape in shapes} == {70, 71} and {shape.frame for shape in shapes} == {0, 1}
    if not polygons:
        for shape in shapes:
            expected = segmenter.segment(np.asarray(images[shape.frame]), list(SENTENCES.values()), threshold=0.0)
            mask = masks.decode_mask([int(point) for point in shape.points], image_width=56, image_height=40)
            np.testing.assert_array_equal(mask, expected[0 if shape.label_id == 71 else 1].masks[0])


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cvat_sdk.auto_annotation", None)
    with pytest.raises(InputError, match="pip install cvat-sdk"):
        CvatFunction(Segmenter(*tiny_model.build()), SENTENCES)
