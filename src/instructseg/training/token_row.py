"""The rows of one token, [SEG], trained while the rest of the word embeddings and of the output head stay frozen.

The rows are parameters of their own that replace the table's rows in every forward pass, so that neither weight decay
nor an optimizer's state touches another word. `merge_token_row` writes them into the tables.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from instructseg.model.modeling import InstructSegModel

NAME = "token_row"
"""Name of the module in a model in training; its parameters are `input_ID` and, unless tied, `output_ID`."""


class TokenRow(nn.Module):
    """Trained rows of token `index` in the word embeddings and in the output head, which reads them by hooks.

    A head that shares the embeddings' weights shares the row; a head without a row for the token has none.
    """

    def __init__(self, model: InstructSegModel, index: int) -> None:
        super().__init__()
        self.index = index
        words, head = model.get_input_embeddings(), model.lm_head
        table = words.get_parameter("weight").detach()
        self.register_parameter(f"input_{index}", nn.Parameter(table[index].clone()))
        self._tied = head.weight is words.get_parameter("weight")
        if not self._tied and index < len(head.weight):
            self.register_parameter(f"output_{index}", nn.Parameter(head.weight.detach()[index].clone()))
        self._handles = [words.register_forward_hook(self._read_input), head.register_forward_hook(self._read_output)]

    @property
    def input(self) -> Tensor:
        """The row of the word embeddings, (dim,)."""
        return self.get_parameter(f"input_{self.index}")

    @property
    def output(self) -> Tensor | None:
        """The row of the output head, (dim,); None if the head has none."""
        return self.input if self._tied else self._parameters.get(f"output_{self.index}")

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _read_input(self, module: nn.Module, inputs: tuple[Any, ...], embedded: Tensor) -> Tensor:
        return torch.where((inputs[0] == self.index)[..., None], self.input.to(embedded.dtype), embedded)

    def _read_output(self, module: nn.Module, inputs: tuple[Any, ...], logits: Tensor) -> Tensor:
        if self.output is None:
            return logits
        place = torch.tensor([self.index], device=logits.device)
        logit = inputs[0] @ self.output.to(inputs[0].dtype)
        return logits.index_copy(-1, place, logit[..., None].to(logits.dtype))


def add_token_row(model: InstructSegModel, index: int) -> None:
    """Train the rows of token `index`, in place."""
    model.add_module(NAME, TokenRow(model, index))


@torch.no_grad()
def merge_token_row(model: InstructSegModel) -> None:
    """Write a trained row into the tables and remove its module, in place; nothing if there is none."""
    row = getattr(model, NAME, None)
    if not isinstance(row, TokenRow):
        return
    row.remove()
    for name, value in row.named_parameters():
        restore_row(model, f"{NAME}.{name}", value)
    delattr(model, NAME)


@torch.no_grad()
def restore_row(model: InstructSegModel, name: str, value: Tensor) -> bool:
    """Write a stored parameter of a `TokenRow` into the model's table; False if `name` is not one or does not fit."""
    kind, _, index = name.removeprefix(f"{NAME}.").partition("_")
    if not name.startswith(f"{NAME}.") or kind not in ("input", "output") or not index.isdecimal():
        return False
    table = (model.get_input_embeddings() if kind == "input" else model.lm_head).get_parameter("weight")
    if int(index) >= len(table) or table.shape[1:] != value.shape:
        return False
    table[int(index)] = value.to(table.dtype)
    return True
