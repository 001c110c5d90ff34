"""`data=PATH`: your own data of every form becomes a data section, and the fine-tuning recipe trains on it."""

import json

import mixed_world
import own_files
import painted_world
import pytest
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.data.own_data import find_photos
from instructseg.data.prepare import prepare
from instructseg.data.readers.folder import MaskFolder
from instructseg.errors import DataError, RecipeError
from instructseg.inference.segmenter import Segmenter
from instructseg.training import run as training
from instructseg.training.data.photos import open_photos
from instructseg.training.data.user_data import data_section
from instructseg.training.data.validation_split import open_validation
from instructseg.training.logging.run_log import read_log
from instructseg.training.recipe import load_recipe

RECIPE = painted_world.REPOSITORY / "src" / "instructseg" / "recipes" / "finetune.yaml"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with one set of each form, and a tiny model to start from."""
    folder = painted_world.found(tmp_path_factory.mktemp("own"))
    mixed_world.write_labelme(folder / "labelme")
    mixed_world.write_triples(folder / "triples")
    own_files.write_yolo(folder / "yolo")
    for split in ("train", "val"):
        prepare(MaskFolder(folder / "triples"), folder / "prepared", "triples", split)
    return folder


FORMS = {"coco": "instances.json", "labelme": "labelme", "yolo": "yolo", "triples": "triples", "prepared": "prepared"}


@pytest.mark.parametrize("form", FORMS)
def test_the_fine_tuning_recipe_takes_it(own, tmp_path, form):
    """Tiny instead of nano; only the language model's adapters and the decoder move."""
    AcceleratorState._reset_state(True)
    overrides = [f"data={own / FORMS[form]}", "data.workers=0", f"model.init={own / 'tiny'}", f"output={tmp_path}",
                 "steps=4", "validate_every=4", "mixed_precision=no", "data.validation_percent=40", "warmup_steps=1",
                 "learning_rate=1e-2", "data.compose.size=64"]  # fmt: skip
    run = training.Run(load_recipe(RECIPE, overrides))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    after = Segmenter.load(tmp_path / "model", device="cpu").model.state_dict()
    moved = {name.split(".")[0] for name, value in after.items() if name in before and not value.equal(before[name])}
    assert moved <= {*run.recipe.model.train, "language_model"} and {"mask_decoder", "pixel_decoder"} <= moved
    (scores,) = [line["validation"] for line in read_log(tmp_path / "log.jsonl") if "validation" in line]
    assert scores["all"]["count"] > 0
    assert (tmp_path / "sheets" / "step_000004.jpg").stat().st_size > 1000
    merged = CliRunner().invoke(app, ["merge", *map(str, (own / "tiny", tmp_path / "adapters", tmp_path / "merged"))])
    assert merged.exit_code == 0, merged.output
    again = Segmenter.load(tmp_path / "merged", device="cpu").model.state_dict()
    assert all(again[name].equal(value) for name, value in after.items()), "its base and what it adds are the model"


def test_the_section_keeps_what_is_no_source(own):
    before = {"root": "old", "coco": [{}], "workers": 7, "compose": {"size": 64}, "sources": [{"name": "revos"}]}
    section = data_section(str(own / "instances.json"), before)
    assert section == {
        "workers": 7, "compose": {"size": 64}, "root": str(own),
        "coco": [{"annotations": "instances.json", "images": str(own)}],
    }  # fmt: skip
    folder = data_section(str(own / "labelme"), None)
    assert [source["name"] for source in folder["sources"]] == ["composed", "labelme"] and folder["labelme"]
    yolo = data_section(str(own / "yolo"), None)
    assert [source["name"] for source in yolo["sources"]] == ["composed", "yolo"] and yolo["yolo"]
    prepared = data_section(str(own / "prepared"), {})
    assert [source["split"] for source in (*prepared["sources"], *prepared["validation"])] == ["train", "val"]


@pytest.mark.parametrize("form", FORMS)
def test_a_relative_path_of_two_parts(own, form, monkeypatch):
    monkeypatch.chdir(own.parent)
    data = load_recipe(RECIPE, [f"data={own.name}/{FORMS[form]}", "data.validation_percent=40"]).data
    assert open_validation(data, 0, 0)


def test_overrides_after_it_change_the_new_section(own):
    loaded = load_recipe(RECIPE, [f"data={own / 'instances.json'}", "data.workers=3", "data.validation_percent=5"])
    assert loaded.data.workers == 3 and loaded.data.validation_percent == 5 and loaded.data.compose["size"] == 384


@pytest.mark.parametrize("home", [".", "images", "photos", "val2017", "../images", "../val2017"])
def test_where_the_find_photos_a_coco_file_are_found(tmp_path, home):
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    photos = annotations / home
    photos.mkdir(exist_ok=True)
    painted_world.paint(photos)
    file = annotations / "instances_val2017.json"
    (photos / "instances.json").rename(file)
    assert find_photos(file).samefile(photos)


def test_data_that_is_none(tmp_path):
    with pytest.raises(RecipeError, match=r"data: .*nowhere does not exist"):
        data_section(str(tmp_path / "nowhere"), {})
    with pytest.raises(RecipeError, match="got none of these"):
        data_section(str(tmp_path), {})
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(RecipeError, match=r"broken\.json is not valid JSON"):
        data_section(str(tmp_path / "broken.json"), {})
    painted_world.paint(tmp_path)
    for photo in tmp_path.glob("*.png"):
        photo.unlink()
    with pytest.raises(RecipeError, match=r"0\.png, the first photo of .* is in none of .*data\.coco="):
        data_section(str(tmp_path / "instances.json"), {})
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(RecipeError, match=r"empty\.json lists no photo"):
        data_section(str(tmp_path / "empty.json"), {})


def test_what_cannot_be_used_is_printed_before_the_first_step(own, tmp_path, capsys):
    """A truncated photo, a point, a stray file and a background photo stop no training of the others."""
    AcceleratorState._reset_state(True)
    point = {**own_files.SHAPES[0], "shape_type": "point", "points": [[3, 4]]}
    folder = own_files.write_labelme(tmp_path / "labelme", last=own_files.labelme(3, []))
    (folder / "p1.json").write_text(json.dumps(own_files.labelme(1, [*own_files.SHAPES, point])))
    (folder / "p2.jpg").write_bytes((folder / "p2.jpg").read_bytes()[:300])
    (folder / "README.txt").write_text("made by me")
    overrides = [f"data={folder}", "data.workers=0", f"model.init={own / 'tiny'}", f"output={tmp_path / 'out'}"]
    settings = ["steps=2", "mixed_precision=no", "data.validation_percent=0", "data.compose.size=64"]
    training.Run(load_recipe(RECIPE, overrides + settings)).train()
    printed = " ".join(capsys.readouterr().err.split())
    assert "left out of the data: 1 shape and 1 photo" in printed and "p1.json: shape 2" in printed
    assert "labelme/p2: " in printed and "README" not in printed


def test_the_same_photos_are_refused_where_scores_must_be_complete(tmp_path):
    folder = own_files.write_labelme(tmp_path)
    data = load_recipe(RECIPE, [f"data={folder}", "data.validation_percent=100"]).data
    assert len(list(open_photos(data, validation=True))) == own_files.PHOTOS
    (folder / "p1.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"p1\.jpg"):
        list(open_photos(data, validation=True))
    (folder / "p2.json").write_text("{")
    with pytest.raises(DataError, match=r"the data is incomplete: .*p2\.json"):
        open_photos(data, validation=True)


def test_a_path_that_the_system_refuses():
    with pytest.raises(RecipeError, match="cannot be opened \\(File name too long\\); check the path"):
        load_recipe("finetune", ["data=" + "x" * 400])


def test_a_home_folder_that_is_none():
    with pytest.raises(RecipeError, match="~nobody-of-this-name does not exist"):
        load_recipe("finetune", ["data=~nobody-of-this-name"])
