"""The presets say what their sources say, in our words."""

import torch
from transformers.activations import ACT2FN

from instructseg.model.presets import paper


def test_phi_2_keeps_its_activation():
    numbers = torch.linspace(-20, 20, 100_001)
    ours, theirs = ACT2FN[paper().text_config.hidden_act](numbers), ACT2FN["gelu_new"](numbers)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
