"""torch.compile for the parts whose shapes never change: the image encoders and the pixel decoder.

The language model and the mask decoder get a different sequence length with every instruction and would be compiled
again each time, so they are not compiled.
"""

from __future__ import annotations

import torch

from instructseg.model.modeling import InstructSegModel
from instructseg.model.vision_encoder import ClipTokens


def compile_encoders(model: InstructSegModel, backend: str = "inductor") -> None:
    """Compile the encoders and the pixel decoder, in place; the first photo of each batch size then takes minutes.

    `backend` is one of `torch.compiler.list_backends()`.
    """
    parts: list[torch.nn.Module] = [model.backbone, model.pixel_decoder]
    if isinstance(model.vision_tokens, ClipTokens):
        parts.append(model.vision_tokens.encoder)
    if model.seed_proposer is not None:
        parts.append(model.seed_proposer.detector)
    for part in parts:
        part.compile(backend=backend, dynamic=False)
