"""Values of processor_config.json are checked: a wrong one would fail at the first photo, or give wrong masks."""

import pytest
import tiny_model

from instructseg.errors import CheckpointError
from instructseg.model.image_processing import InstructSegImageProcessor
from instructseg.model.processing import InstructSegProcessor

WRONG = {
    "side": ["384", 0, -1, 2**70, 384.0, float("nan"), None, True, [384]],
    "clip_side": ["384", 0, 1e9, True, []],
    "resize": ["x", None, 1, ["pad"]],
    "mean": ["x", None, 5, [1, 2], [1, 2, 3, 4], [1, 2, "3"], [1, 2, float("nan")], [True, 1, 2], {"a": 1}],
    "std": ["abc", [1, 2, 0], [1, 2, -3], [float("inf")] * 3],
    "clip_mean": [[None] * 3, "abc"],
    "clip_std": [[0, 0, 0], 2**70],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_refused(name, value):
    with pytest.raises(CheckpointError, match=f"expected {name} to be .*; use the processor_config.json saved with"):
        InstructSegImageProcessor(**{name: value})


@pytest.mark.parametrize("name", ["image_tokens", "frame_tokens", "mask_tokens"])
def test_numbers_of_tokens_are_integers(name):
    config = tiny_model.config()
    processor = InstructSegProcessor.for_config(config, tiny_model.tokenizer())
    processor.check_fits(config)
    setattr(processor, name, float(getattr(processor, name)))
    with pytest.raises(CheckpointError, match=f"expected {name} "):
        processor.check_fits(config)
