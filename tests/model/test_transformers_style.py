"""The processor in transformers' manner, photos as torch tensors, the pipeline and the model card."""

import numpy as np
import pytest
import tiny_model
import torch
from huggingface_hub import ModelCard
from PIL import Image

from instructseg.errors import InputError
from instructseg.inference.pipeline import ReferringSegmentationPipeline
from instructseg.inference.segmenter import Segmenter
from instructseg.media.folders import new_folder
from instructseg.media.image import load_image
from instructseg.model import storage

TEXTS = ["the dog", "the big red cup"]


@pytest.fixture(scope="module", params=[{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def segmenter(request):
    return Segmenter(*tiny_model.build(**request.param))


def run(segmenter, **arguments):
    with torch.no_grad():
        return segmenter.model(**segmenter.processor(**arguments, return_tensors="pt"))


def found(segmenter, output, sizes, **options):
    return segmenter.processor.post_process_referring_segmentation(
        output, target_sizes=sizes, config=segmenter.model.config, **options
    )


def test_images_and_text_give_the_answers_of_the_segmenter(segmenter):
    photos = [tiny_model.photo(seed=1), tiny_model.photo(30, 50, seed=2)]
    output = run(segmenter, images=[Image.fromarray(photos[0]), photos[1]], text=TEXTS)
    results = found(segmenter, output, torch.tensor([photo.shape[:2] for photo in photos]))
    for photo, text, result in zip(photos, TEXTS, results, strict=True):
        expected = segmenter.segment(photo, text)
        assert result["masks"].dtype == torch.bool and np.array_equal(result["masks"].numpy(), expected.masks)
        np.testing.assert_allclose(result["scores"], expected.scores, rtol=1e-4)
        assert result["labels"].tolist() == [0] * len(expected)


def test_several_texts_of_one_image_are_told_apart_by_labels(segmenter):
    photo = tiny_model.photo()
    for images, text in ((photo, TEXTS), ([photo], [TEXTS])):
        (result,) = found(segmenter, run(segmenter, images=images, text=text), [photo.shape[:2]], max_masks=3)
        expected = segmenter.segment(photo, TEXTS, max_masks=3)
        assert result["labels"].tolist() == [index for index, each in enumerate(expected) for _ in each.masks]
        assert np.array_equal(result["masks"].numpy(), np.concatenate([each.masks for each in expected]))


def test_without_sizes_masks_have_the_proposals_resolution(segmenter):
    output = segmenter.model(**segmenter.processor(images=tiny_model.photo(), text="the dog"))  # with gradients, too
    (result,) = segmenter.processor.post_process_referring_segmentation(output)
    assert result["masks"].shape[1:] == output.mask_logits.shape[-2:]
    nothing = segmenter.processor.post_process_referring_segmentation(output, threshold=1.0)[0]
    assert nothing["masks"].shape[0] == len(nothing["scores"]) == len(nothing["labels"]) == 0


@pytest.mark.parametrize("kind", ["uint8", "float", "channels last", "bfloat16"])
def test_tensors_are_photos(segmenter, kind):
    photo = tiny_model.photo()
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    tensor = {
        "uint8": tensor, "float": tensor / 255, "channels last": torch.from_numpy(photo),
        "bfloat16": tensor.bfloat16() / 255,
    }[kind]  # fmt: skip
    tolerance = 2 if kind == "bfloat16" else 0
    assert np.abs(load_image(tensor).astype(int) - photo).max() <= tolerance
    pixels = [segmenter.processor(images=image, text="the dog")["pixel_values"] for image in (photo, tensor)]
    torch.testing.assert_close(*pixels, atol=0.05 * tolerance, rtol=0)
    batch = segmenter.segment([tensor, tensor], "the dog")
    assert np.array_equal(batch[0].masks, segmenter.segment(load_image(tensor), "the dog").masks)


WRONG = {
    "other tensors": ({"images": 1, "text": "a", "return_tensors": "np"}, "expected return_tensors='pt', got 'np'"),
    "a path": ({"images": "photo.jpg", "text": "a"}, "open files with PIL.Image.open"),
    "no text": ({"images": tiny_model.photo()}, "expected images and text together"),
    "counts": ({"images": [tiny_model.photo()] * 2, "text": ["a"]}, "got 2 images and 1 texts"),
    "mixed tasks": ({"images": tiny_model.photo(), "text": ["the dog", "what can fly ?"]}, "pass task="),
    "normalized": ({"images": torch.randn(3, 8, 8), "text": "a"}, "expected float values in 0..1"),
    "nothing": ({}, "expected frames, instructions and tasks"),
}


@pytest.mark.parametrize("arguments, message", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_told(segmenter, arguments, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        segmenter.processor(**arguments)
    output = run(segmenter, images=tiny_model.photo(), text="the dog")
    with pytest.raises(InputError, match=r"one target size .* per image, got 2 for 1"):
        found(segmenter, output, [(4, 5)] * 2)


def test_the_pipeline(segmenter):
    pipe, photo = ReferringSegmentationPipeline(segmenter), tiny_model.photo()
    expected = segmenter.segment(photo, "the dog")
    one = pipe(photo, "the dog")
    assert [each["label"] for each in one] == ["the dog"] * len(expected)
    for each, mask, score in zip(one, expected.masks, expected.scores, strict=True):
        assert each["mask"].mode == "L" and np.array_equal(np.array(each["mask"]), mask * np.uint8(255))
        assert each["score"] == pytest.approx(float(score))
    same = [pipe([photo, photo], "the dog"), pipe([{"image": photo, "text": "the dog"}] * 2)]
    assert all(len(each) == 2 and each[1][0]["score"] == one[0]["score"] for each in same if one)
    assert {each["label"] for each in pipe(photo, TEXTS, threshold=0.0)} <= set(TEXTS)
    for wrong in (lambda: pipe(photo), lambda: pipe([photo], ["a", "b"]), lambda: pipe({"text": "a"})):
        with pytest.raises(InputError, match="expected"):
            wrong()


def test_saved_models_have_a_card_for_the_hub(segmenter, tmp_path):
    segmenter.model.save_pretrained(tmp_path / "full")
    storage.save_compact(segmenter.model, tmp_path / "compact")
    for name in ("full", "compact"):
        data = ModelCard.load(tmp_path / name / "README.md").data
        assert (data.license, data.library_name, data.pipeline_tag) == (
            "apache-2.0",
            "instructseg",
            "image-segmentation",
        )
        (tmp_path / name / "README.md").write_text("mine")
    segmenter.model.save_pretrained(tmp_path / "full")
    assert (tmp_path / "full" / "README.md").read_text() == "mine"


def test_a_replaced_model_keeps_its_card_and_still_loads(segmenter, tmp_path):
    for _ in range(2):
        with new_folder(tmp_path / "model", replace=True) as folder:
            segmenter.model.save_pretrained(folder)
            segmenter.processor.save_pretrained(folder)
        (tmp_path / "model" / "README.md").write_text("mine")
    with new_folder(tmp_path / "model", replace=True) as folder:
        segmenter.model.save_pretrained(folder)
        segmenter.processor.save_pretrained(folder)
    assert (tmp_path / "model" / "README.md").read_text() == "mine"
    assert Segmenter.load(tmp_path / "model", device="cpu").name
