"""Nothing in the forward waits for the GPU or computes on the host, traced on the meta device.

Like a GPU, the meta device takes the code paths that are not for CPUs; unlike one, it needs no memory. The models are
the paper's and one like nano with seeds, with fewer layers. A value that
Python reads (`.item()`, `if tensor`), a copy between devices, a constant that is copied from the host, and an operation
whose output size depends on values would each make the program wait for the GPU.
"""

import traceback

import pytest
import tiny_model
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from instructseg.model import presets
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

READS = {
    "item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__", "__contains__", "equal",
    "allclose", "new_tensor", "tensor", "as_tensor", "from_numpy", "nonzero", "argwhere", "unique", "masked_select",
}  # fmt: skip
SDPA = torch.nn.functional.scaled_dot_product_attention


class Calls(TorchFunctionMode):
    """Python calls that read values or copy constants, with their lines; and the number of fused attentions."""

    def __init__(self):
        super().__init__()
        self.found, self.attentions = [], 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        self.attentions += func is SDPA
        index = args[1] if name == "__getitem__" else None
        masked = any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in tree_leaves(index))
        if name in READS or masked:
            self.found.append(f"{name} {line_of_ours()}")
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Operations on tensors of the host, with their lines."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.found.append(f"{func} {line_of_ours()}")
        return result


def line_of_ours():
    frames = [frame for frame in traceback.extract_stack() if "instructseg/" in frame.filename.replace("\\", "/")]
    return f"in {frames[-1].filename}:{frames[-1].lineno}" if frames else "outside our code"


def paper():
    """The paper's model with two layers in each part."""
    tree = presets.paper().to_dict()
    tree["text_config"]["num_hidden_layers"] = tree["vision_config"]["num_hidden_layers"] = 2
    tree["backbone_config"]["depths"] = [2, 2, 2, 2]
    tree["decoder_config"] |= {"decoder_layers": 3, "pixel_layers": 2}
    return InstructSegConfig.from_dict(tree)


def like_nano_with_seeds():
    tree = tiny_model.config(**tiny_model.LIKE_NANO).to_dict()
    return InstructSegConfig.from_dict(tree | {"seed_config": {"num_seeds": 3, "num_candidates": 5}})


MODELS = {"paper": paper, "seeds": like_nano_with_seeds}
# Layers of the language model, the CLIP-type encoder, the backbone, the perceiver, the
# text fusion, and the decoder (cross- and self-attention)
ATTENTIONS = {"paper": 2 + 2 + 8 + 3 + 3 + 6, "seeds": 2 + 0 + 0 + 2 + 2 + 6}


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_never_waits(name):
    """All stages, as `forward` calls them, with the cached prefix of `ImageSession`."""
    config = MODELS[name]()
    with torch.device("meta"):
        model = InstructSegModel(config).eval()
    processor = InstructSegProcessor.for_config(config, tiny_model.tokenizer())
    frames = [tiny_model.photo(seed=seed) for seed in range(2)]
    inputs = tiny_model.prepare(processor, (frames, ["the dog", "a red cat"]), task=Task.RVOS).to("meta", model.dtype)
    layout, index, times = inputs.layout, inputs.reference_index, inputs.reference_times
    with torch.inference_mode(), Calls() as calls, Operations() as operations:
        visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values, batch=1)
    with torch.inference_mode():  # once per photo and task; transformers makes constants for its mask
        prefix = model.read_prefix(layout, visual)
    with torch.inference_mode(), calls, operations:
        output = model.forward_from_features(visual, layout, index, prefix=prefix, reference_times=times)
    assert output.mask_logits is not None and output.mask_logits.device.type == "meta"
    assert calls.found == [] and operations.found == []
    assert calls.attentions == ATTENTIONS[name]


@pytest.mark.parametrize(
    "wait",
    [
        lambda tensor: bool(torch.ones(())) and tensor,
        lambda tensor: tensor + torch.ones(2, device="cpu").sum().item(),
        lambda tensor: tensor.new_tensor([1.0, 2.0]),
        lambda tensor: torch.ones(2)[torch.ones(2, dtype=torch.bool)],
        lambda tensor: torch.ones(2).sum(),
    ],
)
def test_the_trace_sees(wait):
    with Calls() as calls, Operations() as operations:
        wait(torch.ones(2, device="meta"))
    assert calls.found or operations.found
