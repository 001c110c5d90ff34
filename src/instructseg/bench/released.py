"""The released schedule, as a plain baseline: every instruction and every frame from scratch.

As in the authors' code: all frames pass the CLIP-type encoder and the key frame the backbone, the whole prompt passes
the language model, once per instruction, and every proposal is resized to the photo before the best is chosen. The
weights and the modules are ours, and so are the answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from instructseg.inference.arguments import choose_task
from instructseg.inference.segmenter import Segmenter
from instructseg.model.references import nearest_references
from instructseg.types import Task


@torch.inference_mode()
def segment(segmenter: Segmenter, frames: Sequence[np.ndarray], text: str, task: Task) -> np.ndarray:
    """The best mask in the first of `frames`, bool (height, width); the other frames are its references."""
    model, processor = segmenter.model, segmenter.processor
    inputs = processor([list(frames)], [[text]], [task])
    output = model(**inputs.to(model.device, model.dtype).model_kwargs)
    logits, scores, geometry = output.mask_logits[0, 0], output.score_logits[0, 0], inputs.geometries[0]
    masks = (processor.image_processor.restore(logits.float(), geometry) > 0).cpu().numpy()
    best, _ = processor.rank_proposals(logits, scores, geometry, model.config.selection, limit=1)
    return masks[best[0]] if best else np.zeros(masks.shape[1:], bool)


def photo(segmenter: Segmenter, image: np.ndarray, text: str) -> np.ndarray:
    """A photo, which is its own reference."""
    return segment(segmenter, [image], text, choose_task(None, text))


def clip(segmenter: Segmenter, frames: Sequence[np.ndarray], texts: Sequence[str], count: int) -> np.ndarray:
    """The first `count` frames; masks bool (count, instructions, height, width)."""
    number = segmenter.model.config.num_reference_frames
    answers = []
    for key in range(count):
        references = [frames[each] for each in nearest_references(key, number, len(frames))]
        answers.append([segment(segmenter, [frames[key], *references], text, Task.RVOS) for text in texts])
    return np.array(answers)
