"""Our modules against recorded tensors of the authors' code, and what the comparison itself detects."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.verification.recording import Comparison, Recording
from instructseg.verification.verify import MODULES, verify

FAMILY = "model_tiny"
CASES = ("eval_image", "eval_video", "train_refcoco", "train_reasonseg", "train_revos", "train_chat")


@pytest.fixture(scope="module")
def recorded(shared_data) -> Path:
    folder = shared_data / "reference" / "golden"
    if not folder.is_dir():
        pytest.skip(f"no recorded tensors: {folder} is not a folder")
    return folder


@pytest.fixture(scope="module")
def lines(recorded):
    return {line.name: line for line in verify(recorded)}


@pytest.mark.parametrize("name", [*MODULES, "data_semantics", *(f"{FAMILY}_{case}" for case in CASES)])
def test_equal_to_the_authors_code(lines, name):
    assert not lines[name].failed, str(lines[name])
    assert lines[name].comparison.values > 100


def test_every_file_has_a_line(lines, recorded):
    files = {file.stem for file in recorded.glob("*.safetensors")} | {"data_semantics"}
    assert files - lines.keys() == {f"{FAMILY}_weights"}


def test_command(recorded, tmp_path):
    shutil.copy(recorded / "ovp.safetensors", tmp_path)
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 0 and result.stdout.startswith("ovp ") and "pass" in result.stdout


def change(file: Path, target: Path, key: str, factor: float) -> None:
    with safe_open(file, "pt") as tensors:
        data, meta = {name: tensors.get_tensor(name) for name in tensors.keys()}, tensors.metadata()  # noqa: SIM118
    data[key] = data[key] * factor
    save_file(data, target / file.name, metadata=meta)


@pytest.mark.parametrize("key", ["out.out", "w.layers.1.0.to_kv.weight", "in.latents"])
def test_a_changed_number_is_detected(recorded, tmp_path, key):
    change(recorded / "ovp.safetensors", tmp_path, key, 1.01)
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 1 and "FAIL" in result.stdout


@pytest.mark.parametrize("key", ["out.F_void", "out.stats", "out.R_released", "out.soft_merge"])
def test_a_changed_metric_is_detected(recorded, tmp_path, key):
    change(recorded / "metrics.safetensors", tmp_path, key, 2)
    (line,) = verify(tmp_path)
    assert line.comparison.mismatches == [key.removeprefix("out.")]


def test_changed_prompts_are_detected(recorded, tmp_path):
    tree = json.loads((recorded / "data_semantics.json").read_text())
    tree["prompts"]["refcoco"]["labels"][280] = -100
    tree["reference_frames"]["9"]["4"]["4"] = [1, 2, 3, 5]
    (tmp_path / "data_semantics.json").write_text(json.dumps(tree))
    (line,) = verify(tmp_path)
    assert line.comparison.mismatches == ["refcoco.labels", "reference_frames[9][4][4]"]


def test_cases_without_their_weights_fail(recorded, tmp_path):
    shutil.copy(recorded / f"{FAMILY}_eval_image.safetensors", tmp_path)
    (line,) = verify(tmp_path)
    assert line.failed


def test_a_folder_without_records(tmp_path):
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 1 and "got neither; pass a folder of recordings" in result.stderr


def test_comparison_is_strict():
    result = Comparison()
    result.close("same", torch.ones(3), torch.ones(3) + 1e-6)
    assert not result.mismatches and result.values == 3
    result.close("nan", torch.tensor([float("nan")]), torch.ones(1))
    result.close("shape", torch.ones(1, 3), torch.ones(3))
    result.equal("id", [1], [2])
    assert [name.split(" ")[0] for name in result.mismatches] == ["nan", "shape", "id"]
    assert result.error == float("inf")


def test_no_record(tmp_path):
    save_file({"w.a": torch.zeros(1)}, tmp_path / "ovp.safetensors")
    (line,) = verify(tmp_path)
    assert line.failed and "expected recorded tensors in" in str(line)
    with pytest.raises(Exception, match="expected recorded tensors in"):
        Recording.read(tmp_path / "ovp.safetensors")
