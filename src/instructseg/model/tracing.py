"""Whether torch.export traces the model, whose result other programs run: they lack some operations of torch."""

from __future__ import annotations

import torch


def exporting() -> bool:
    """True while torch.export traces, also for torch.onnx.export; torch.compile does not count.

    Always False before torch 2.7, which cannot tell.
    """
    is_exporting = getattr(torch.compiler, "is_exporting", None)
    return is_exporting is not None and is_exporting()
