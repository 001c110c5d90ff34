"""`instructseg export`: a compact model appears complete or not at all, and loading reports later damage."""

import shutil

import pytest
import tiny_model
import torch
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.errors import CheckpointError
from instructseg.inference.segmenter import Segmenter
from instructseg.model import storage


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of the same sizes with different weights."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        torch.manual_seed(seed)
        model, processor = tiny_model.build()
        with torch.no_grad():
            model.mask_tokens.normal_()
        model.save_pretrained(folder / str(seed))
        processor.save_pretrained(folder / str(seed))
    return folder


@pytest.fixture
def exported(models, tmp_path):
    """An export of the first model."""
    assert export(models / "0", tmp_path / "compact").exit_code == 0
    return tmp_path / "compact"


def export(source, target, *options):
    return CliRunner().invoke(app, ["export", str(source), str(target), *options])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_export_loads_and_says_its_size(exported, models):
    loaded, source = Segmenter.load(exported).model, Segmenter.load(models / "0").model
    torch.testing.assert_close(loaded.mask_tokens, source.mask_tokens, atol=0.02, rtol=0.02)


def test_an_interrupted_export_leaves_the_older_one(exported, models, monkeypatch):
    """The new first shard beside an old second one would load without a word, and segment nonsense."""
    before, save, calls = files(exported), storage.save_file, []

    def until_interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        save(*arguments, **options)

    monkeypatch.setattr(storage, "save_file", until_interrupted)
    monkeypatch.setattr(storage.save_compact, "__defaults__", ("int8", 100_000))
    assert export(models / "1", exported).exit_code == 130
    assert len(calls) == 2 and files(exported) == before
    assert [path.name for path in exported.parent.iterdir()] == ["compact"]


def test_an_export_replaces_an_older_one_and_keeps_its_model_card(exported, models):
    (exported / "MODEL_CARD.md").write_text("mine")
    assert export(models / "1", exported, "--threshold", "0.25").exit_code == 0
    loaded = Segmenter.load(exported).model
    assert loaded.config.score_threshold == 0.25 and (exported / "MODEL_CARD.md").read_text() == "mine"
    expected = Segmenter.load(models / "1").model.mask_tokens
    torch.testing.assert_close(loaded.mask_tokens, expected, atol=0.02, rtol=0.02)


def test_a_folder_of_other_files_is_refused_before_the_work(models, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = export(models / "0", tmp_path)
    assert result.exit_code == 1 and "to be new, empty or a model's folder, got another" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_file_of_another_export_is_told_on_loading(name, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "mixed")
    (tmp_path / "mixed" / name).write_bytes((exported / name).read_bytes() + b" ")
    with pytest.raises(
        CheckpointError, match=rf"cannot load .*mixed: expected the files of .* got another or no {name}"
    ):
        Segmenter.load(tmp_path / "mixed")
    shard = next((tmp_path / "mixed").glob("*.safetensors"))
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"got another or no .* and 1 more; copy the folder again"):
        Segmenter.load(tmp_path / "mixed")
