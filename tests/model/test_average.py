"""tools/average_models.py: between two models, but for the modules that started anew."""

import pytest
import tiny_model
import torch

from tools import average_models


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_average(share):
    (before, _), (after, _) = tiny_model.build(), tiny_model.build()
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(1.0)
    average_models.average(before, after, share, ("perceiver",))
    for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        expected = 1.0 if name.startswith("perceiver") else share
        torch.testing.assert_close(new - old, torch.full_like(old, expected), atol=1e-5, rtol=1e-4)
