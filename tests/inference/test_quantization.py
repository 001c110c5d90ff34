"""`Segmenter.load(..., quantize=...)`: refusals in words, and with torchao installed, masks that hardly change."""

import sys

import pytest
import tiny_model
import torch

from instructseg.errors import InputError
from instructseg.inference.quantization import choose_unquantized_dtype, quantize_weights
from instructseg.inference.segmenter import Segmenter

CPU = torch.device("cpu")


def test_without_torchao_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(InputError, match=r'install it: pip install "instructseg\[quantize\]"'):
        Segmenter.load("nano", device="cpu", quantize="int8")


def test_what_cannot_run_is_refused(monkeypatch):
    assert choose_unquantized_dtype(None, CPU, "float32") == "float32"
    with pytest.raises(InputError, match="expected quantize to be 'int8' or 'int4' or None, got 'int2'"):
        choose_unquantized_dtype("int2", CPU, "auto")
    monkeypatch.setattr("instructseg.inference.quantization._torchao", lambda: None)
    assert choose_unquantized_dtype("int4", CPU, "auto") == "bfloat16"
    assert choose_unquantized_dtype("int8", CPU, "auto") == "auto"
    with pytest.raises(InputError, match="expected dtype='bfloat16' with quantize='int4', got 'float32'"):
        choose_unquantized_dtype("int4", CPU, "float32")
    with pytest.raises(InputError, match="got 'mps'"):
        choose_unquantized_dtype("int8", torch.device("mps"), "auto")


def test_int8_weights_hardly_change_the_masks():
    pytest.importorskip("torchao")
    text = {"hidden_size": 64, "intermediate_size": 64}
    model, processor = tiny_model.build(text_config=text)
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog"]))
    with torch.inference_mode():
        expected = model(**inputs.model_kwargs).mask_logits
        names = quantize_weights(model, "int8")
        found = model(**inputs.model_kwargs).mask_logits
    assert names and all(name.startswith(("language_model.", "vision_tokens.encoder.")) for name in names)
    assert 0 < (found - expected).abs().mean() < 0.1 * expected.std()
