"""Detect torch.export, whose graphs run in other programs that lack some of torch's operations."""

from __future__ import annotations

import torch


def exporting() -> bool:
    """Whether torch.export, which torch.onnx.export uses too, is tracing; False under torch.compile.

    Always False before torch 2.7, which has no way to find out.
    """
    is_exporting = getattr(torch.compiler, "is_exporting", None)
    return is_exporting is not None and is_exporting()
