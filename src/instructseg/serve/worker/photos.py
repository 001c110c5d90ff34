"""Answer a batch of photo requests in as few passes as possible.

Requests about the same photo and with the same options are one pass with all their texts behind the shared prompt;
single texts about different photos are one batch. A request that fails is computed again on its own, so that it does
not fail the others.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from instructseg.errors import InputError
from instructseg.inference.image_session import ImageSession
from instructseg.inference.prediction import Prediction
from instructseg.inference.segmenter import Segmenter
from instructseg.media.image import load_image
from instructseg.media.masks import mask_png
from instructseg.serve.messages import Answer, Failure, MaskForm, PhotoRequest
from instructseg.serve.worker.sessions import SessionStore

logger = logging.getLogger(__name__)

DECODERS = 4
"""Threads that decode the photos of a batch."""
SESSION_GONE = "no such session; it expired, was dropped for lack of memory, or never existed; open it again"


@dataclass(frozen=True, eq=False)
class _Work:
    """One request of the batch: its place, and the photo it is about."""

    place: int
    request: PhotoRequest
    session: ImageSession
    photo: Hashable
    """The same for requests about the same photo."""


class PhotoAnswerer:
    """Answers batches of requests with a segmenter and the sessions it keeps."""

    def __init__(self, segmenter: Segmenter, store: SessionStore, max_pixels: int):
        self.segmenter, self.store, self.max_pixels = segmenter, store, max_pixels
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")

    def answer(self, requests: Sequence[PhotoRequest]) -> tuple[Answer | Failure, ...]:
        """One answer or failure for each request, in their order."""
        opened = list(self._decoders.map(lambda request: decode_photo(request.photo, self.max_pixels), requests))
        answers: dict[int, Answer | Failure] = {}
        works, sessions = [], {}
        for place, (request, photo) in enumerate(zip(requests, opened, strict=True)):
            if isinstance(photo, Failure):
                answers[place] = photo
                continue
            key = request.session or hashlib.sha256(request.photo or b"").digest()
            if photo is not None and key not in sessions:
                sessions[key] = self.segmenter.open(photo)
            session = sessions.get(key) or self.store.get(str(key))
            if session is None:
                answers[place] = Failure(404, SESSION_GONE)
            else:
                works.append(_Work(place, request, session, key))
        for group in _group(works):
            answers |= self._answer_group(group)
        for work in works:
            if work.request.session is not None and isinstance(answers[work.place], Answer):
                self.store.keep(work.request.session, work.session)
        return tuple(answers[place] for place in range(len(requests)))

    def _answer_group(self, group: Sequence[_Work]) -> dict[int, Answer | Failure]:
        """The answers by place. If the group fails, each request is computed on its own."""
        compute = _segment_texts if len({work.photo for work in group}) == 1 else self._segment_photos
        try:
            return compute(group)
        except Exception as error:
            if len(group) == 1:
                return {group[0].place: to_failure(error)}
        return {place: answer for work in group for place, answer in self._answer_group([work]).items()}

    def _segment_photos(self, group: Sequence[_Work]) -> dict[int, Answer | Failure]:
        """One text about each of several photos, in one batch."""
        photos, texts = [work.session.image for work in group], [work.request.texts[0] for work in group]
        predictions = self.segmenter.segment(photos, texts, *group[0].request.options)
        return {work.place: _to_answer(work, [entry]) for work, entry in zip(group, predictions, strict=True)}


def decode_photo(photo: bytes | None, max_pixels: int) -> np.ndarray | Failure | None:
    """The photo's pixels, None for a request about a session's photo."""
    if photo is None:
        return None
    pixels = _declared_pixels(photo)
    if pixels > max_pixels:
        sizes = f"{max_pixels / 1e6:.4g} megapixels, got {pixels / 1e6:.4g}"
        return Failure(413, f"expected a photo of at most {sizes}; shrink it")
    try:
        return load_image(photo, max_pixels)
    except InputError as error:
        return Failure(422, str(error))


def _declared_pixels(data: bytes) -> int:
    """The pixels that the header of an image file declares, 0 for what Pillow does not read; `load_image` says why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                return picture.width * picture.height
    except Exception:  # on damaged files Pillow's plugins raise almost any exception
        return 0


def _segment_texts(group: Sequence[_Work]) -> dict[int, Answer | Failure]:
    """All texts about one photo, in one pass."""
    texts = [text for work in group for text in work.request.texts]
    predictions = iter(group[0].session.segment(texts, *group[0].request.options) if texts else [])
    return {work.place: _to_answer(work, [next(predictions) for _ in work.request.texts]) for work in group}


def _group(works: Iterable[_Work]) -> list[list[_Work]]:
    """Requests to compute together: first by photo, then photos that are asked one text and not kept."""
    works = list(works)
    same_photo = _collect(works, lambda work: (work.photo, work.request.options))
    single = [group[0] for group in same_photo if len(group) == 1 and _is_single(group[0])]
    others = [group for group in same_photo if len(group) > 1 or not _is_single(group[0])]
    return [*_collect(single, lambda work: work.request.options), *others]


def _is_single(work: _Work) -> bool:
    return len(work.request.texts) == 1 and work.request.session is None


def _collect(works: Iterable[_Work], key: Callable[[_Work], Hashable]) -> list[list[_Work]]:
    """The works with the same key, in the order of the first."""
    groups: dict[Hashable, list[_Work]] = {}
    for work in works:
        groups.setdefault(key(work), []).append(work)
    return list(groups.values())


def _to_answer(work: _Work, predictions: Sequence[Prediction]) -> Answer:
    height, width = work.session.image.shape[:2]
    return Answer(tuple(to_result(entry, work.request.masks) for entry in predictions), (height, width))


def to_result(prediction: Prediction, masks: MaskForm) -> dict[str, Any]:
    """`Prediction.to_dict` with each object's box, and with PNG files (base64) in place of RLE if asked for."""
    result = prediction.to_dict()
    result.pop("source")
    for item, box, mask in zip(result["objects"], prediction.boxes, prediction.masks, strict=True):
        item["box"] = [float(edge) for edge in box]
        if masks == "png":
            item["segmentation"] = None
            item["png"] = base64.b64encode(mask_png(mask)).decode()
    return result


def to_failure(error: Exception) -> Failure:
    """What the client reads; unexpected errors are logged with their traceback here, in the worker."""
    if isinstance(error, InputError):
        return Failure(422, str(error))
    logger.error("a request failed", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Failure(500, "the model ran out of memory for this request; send a smaller photo or fewer instructions")
    return Failure(500, f"the model failed on this request ({type(error).__name__}); the server's log has the details")
