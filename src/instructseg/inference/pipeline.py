"""A callable in the manner of transformers' pipelines: photos and texts in, dicts with PIL masks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from instructseg.errors import InputError
from instructseg.inference.prediction import Prediction
from instructseg.inference.segmenter import Segmenter
from instructseg.media.image import ImageInput

MaskResult = dict[str, Any]
"""One mask: "score" (float in 0..1), "label" (the text), "mask" (PIL image of mode "L", 0 or 255, the photo's
size)."""


class ReferringSegmentationPipeline:
    """Segment photos by texts, with the results of transformers' image segmentation pipelines.

    segment = ReferringSegmentationPipeline("nano")
    segment("photo.jpg", "the dog")  # [{"score": 0.9, "label": "the dog", "mask": <PIL image>}]

    Attributes: `segmenter`, the loaded model.
    """

    def __init__(self, model: str | Segmenter = "nano", **options: Any) -> None:
        """
        Args:
            model: a shipped name, a folder, a hub id, or a loaded Segmenter.
            options: arguments of `Segmenter.load`.
        """
        if isinstance(model, Segmenter) and options:
            raise InputError(f"expected no options for a loaded Segmenter, got {', '.join(options)}; pass its name")
        self.segmenter = model if isinstance(model, Segmenter) else Segmenter.load(model, **options)

    def __call__(
        self, images: Any, text: str | Sequence[str] | None = None, threshold: float | None = None,
        max_masks: int | None = None, task: str | None = None,
    ) -> list[MaskResult] | list[list[MaskResult]]:  # fmt: skip
        """The masks of one photo, best first, or a list of them for a list of photos; no mask means "no target".

        Args:
            images: a photo, see `media.image.load_image`; a dict with "image" and "text"; or a list of either.
            text: what to segment: one text for all photos, a list with one for each photo of a list, or a list of
                several for a single photo; None if `images` has the texts.

        Other arguments and errors as in `Segmenter.segment`.
        """
        options = {"task": task, "threshold": threshold, "max_masks": max_masks}
        if isinstance(images, list | tuple):
            texts = _one_each(text, len(images))
            return [self._one(image, each, options) for image, each in zip(images, texts, strict=True)]
        return self._one(images, text, options)

    def _one(self, image: Any, text: str | Sequence[str] | None, options: Mapping[str, Any]) -> list[MaskResult]:
        if isinstance(image, Mapping):
            image, text = _pair(image, text)
        if text is None:
            raise InputError('expected a text for each photo, got none; pass text="the dog on the left"')
        return _mask_results(self.segmenter, image, [text] if isinstance(text, str) else list(text), options)


def _mask_results(
    segmenter: Segmenter, image: ImageInput, texts: list[str], options: Mapping[str, Any]
) -> list[MaskResult]:
    predictions: list[Prediction] = segmenter.segment(image, texts, **options)
    return [
        {"score": float(score), "label": prediction.instruction, "mask": Image.fromarray(mask.astype("uint8") * 255)}
        for prediction in predictions
        for score, mask in zip(prediction.scores, prediction.masks, strict=True)
    ]


def _pair(given: Mapping[str, Any], text: Any) -> tuple[Any, Any]:
    if "image" not in given:
        names = ", ".join(map(str, given)) or "nothing"
        raise InputError(
            f'expected a dict with image and text, got one with {names}; pass {{"image": ..., "text": ...}}'
        )
    return given["image"], given.get("text", text)


def _one_each(text: str | Sequence[str] | None, count: int) -> list[Any]:
    if text is None or isinstance(text, str):
        return [text] * count
    if len(text) != count:
        raise InputError(f"expected one text per photo, got {count} photos and {len(text)} texts; pass one per photo")
    return list(text)
