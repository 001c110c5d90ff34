"""CVAT's automatic annotation by sentences: an auto-annotation function for `cvat_sdk` and `cvat-cli`.

    cvat-cli --server-host https://app.cvat.ai task auto-annotate 123 \\
        --function-module instructseg.annotations.cvat_function \\
        -p labels="str:dog=the dog on the left; ball"

Each label of the task gets the masks of its sentence; a label without "=" is its own sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instructseg.errors import InputError
from instructseg.media.masks import mask_to_polygons

if TYPE_CHECKING:
    import PIL.Image

    from instructseg.inference.segmenter import Segmenter

POLYGON_TOLERANCE = 1.0
"""Corners of polygons are dropped as long as an outline moves by at most this many pixels."""


def create(labels: str, model: str = "nano", device: str = "auto", max_masks: int | None = None) -> CvatFunction:
    """What `cvat-cli --function-module` calls with the values of its option -p.

    Args:
        labels: "LABEL=SENTENCE; LABEL; ...", the names of the task's labels.
        model, device: see `Segmenter.load`.
        max_masks: maximum number of masks per label and image.

    Raises InputError for labels that are empty or given twice, and CheckpointError if the model cannot be loaded.
    """
    from instructseg.inference.segmenter import Segmenter

    sentences = parse_labels(labels)
    return CvatFunction(Segmenter.load(model, device), sentences, max_masks)


def parse_labels(text: str) -> dict[str, str]:
    """Label -> sentence from "LABEL=SENTENCE; LABEL". Raises InputError for empty or repeated labels."""
    sentences: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        label, _, sentence = (piece.strip() for piece in part.partition("="))
        if not label or label in sentences:
            raise InputError(f'expected "LABEL=SENTENCE; LABEL; ..." with different labels, got {text!r:.200}')
        sentences[label] = sentence or label
    if not sentences:
        raise InputError(f'expected at least one label, e.g. "dog=the dog on the left; ball", got {text!r}')
    return sentences


class CvatFunction:
    """A detection function of `cvat_sdk.auto_annotation`: label name -> sentence.

    `spec`: the labels, which must have the names of the task's labels. Raises InputError when cvat_sdk is missing.
    """

    def __init__(self, segmenter: Segmenter, sentences: Mapping[str, str], max_masks: int | None = None) -> None:
        self._sdk = _import_sdk()
        self.segmenter, self.sentences, self.max_masks = segmenter, dict(sentences), max_masks
        labels = [self._sdk.label_spec(name, number) for number, name in enumerate(sentences)]
        self.spec = self._sdk.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: PIL.Image.Image) -> list[Any]:
        """Masks (or polygons, if the context asks for them) of all labels in an image; one pass of the model.

        `context.conf_threshold` is the minimum score of a mask; None: the model's default.
        """
        session = self.segmenter.open(image)
        texts = list(self.sentences.values())
        results = session.segment(texts, max_masks=self.max_masks, threshold=context.conf_threshold)
        return [
            shape
            for number, result in enumerate(results)
            for mask in result.masks
            if mask.any()
            for shape in self._shapes(number, mask, context.conv_mask_to_poly)
        ]

    def _shapes(self, label: int, mask: Any, as_polygons: bool) -> Sequence[Any]:
        if not as_polygons:
            from cvat_sdk.masks import encode_mask  # pyright: ignore[reportMissingImports]  # an optional package

            return [self._sdk.mask(label, encode_mask(mask))]
        polygons = mask_to_polygons(mask, POLYGON_TOLERANCE) or mask_to_polygons(mask)
        return [self._sdk.polygon(label, polygon.ravel().tolist()) for polygon in polygons]


def _import_sdk() -> Any:
    try:
        import cvat_sdk.auto_annotation as sdk  # pyright: ignore[reportMissingImports]  # an optional package
    except ImportError as error:
        raise InputError(f"CVAT's functions need cvat_sdk ({error}); run: pip install cvat-sdk cvat-cli") from error
    return sdk
