"""`instructseg segment` imports neither SciPy, matplotlib, torch's compiler nor accelerate, and answers the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_model
from PIL import Image

import instructseg
from instructseg.commands import lean_imports
from instructseg.inference.segmenter import Segmenter
from instructseg.model.storage import save_compact

UNUSED = (
    "accelerate", "matplotlib", "peft", "scipy", "sympy", "torch._dynamo", "torch.distributed.tensor", "torch.onnx",
)  # fmt: skip
PROGRAM = f"""
import sys
from instructseg import cli
try: cli.main()
except SystemExit as end: print(end.code, *sorted(set({UNUSED}) & sys.modules.keys()), file=sys.stderr)
import torch, transformers
import torch._dynamo
print(torch.compiler.disable is not None and torch._dynamo.allow_in_graph.__module__, file=sys.stderr)
"""


@pytest.mark.parametrize("compact", [True, False])
def test_segment(tmp_path, compact):
    model, processor = tiny_model.build(**tiny_model.LIKE_NANO)
    save_compact(model, tmp_path / "tiny") if compact else model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    Image.fromarray(tiny_model.photo(60, 80)).save(tmp_path / "photo.png")
    words = ["segment", "photo.png", "dog", "--model", "tiny", "--json", "--threshold", "0"]
    command = [sys.executable, "-c", PROGRAM, *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(instructseg.__file__).parents[1])}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    code, *loaded = done.stderr.splitlines()[-2].split()
    assert code == "0" and done.stderr.splitlines()[-1] == "torch._dynamo.decorators", done.stderr
    assert not compact or loaded == []  # transformers' own loading needs more
    (result,) = json.loads(done.stdout)["results"]
    expected = Segmenter.load(tmp_path / "tiny").segment(tmp_path / "photo.png", "dog", threshold=0.0)
    assert result["objects"][0]["score"] == expected.to_dict()["objects"][0]["score"]
    assert result["objects"] == expected.to_dict()["objects"]


def test_the_library_never_does_it():
    assert not lean_imports.lean_imports.allowed
    lean_imports.import_transformers()
    from transformers.utils import is_scipy_available

    assert is_scipy_available()
