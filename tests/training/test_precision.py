"""bfloat16 on a CPU without instructions for it."""

import pytest
import torch

from instructseg.training.distributed import processes


@pytest.mark.skipif(torch.cuda.is_available(), reason="the choice is about CPUs")
def test_bf16_becomes_float32_where_it_is_slow(monkeypatch):
    monkeypatch.setattr(processes, "has_fast_bf16", lambda: False)
    with pytest.warns(UserWarning, match="no fast bfloat16"):
        assert processes.usable_precision("bf16") == "no"
    monkeypatch.setattr(processes, "has_fast_bf16", lambda: True)
    assert processes.usable_precision("bf16") == "bf16"


def test_other_precisions_stay():
    assert processes.usable_precision("no") == "no"
    assert processes.usable_precision("fp16") == "fp16"
