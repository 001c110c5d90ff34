"""A miniature of Table 6, with the rows as they are shipped: trained, interrupted, gone on with, scored, written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import painted_world
import pytest
import tiny_model
import yaml
from painted_world import REPOSITORY
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.commands.reproduce import TABLES, commands
from instructseg.errors import InputError, RecipeError
from instructseg.training import ablations
from instructseg.training.ablation_score import HeldOut, held_out_clips, held_out_photos
from instructseg.training.ablations import Plan, load_ablation, run_table
from instructseg.training.recipe import load_recipe
from instructseg.training.start import build_model
from instructseg.types import Task

FOLDER = REPOSITORY / "recipes" / "ablations"
STEPS = 3
SOURCES = """
  sources:
    - {name: composed, ratio: 2, options: {task: res}}
    - {name: composed, ratio: 1, options: {task: reason_seg}}
    - {name: composed_clips, ratio: 2, options: {task: rvos}}
    - {name: composed_clips, ratio: 1, options: {task: reason_vos}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Painted photos, a recipe of all four tasks on a tiny saved model, and the shipped table 6 on this recipe."""
    folder = tmp_path_factory.mktemp("world")
    painted_world.paint(folder, photos=range(12), scale=2)
    model, processor = tiny_model.build()
    model.save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    small = painted_world.RECIPE.replace("size: 64, cache_side: 64", "size: 128, cache_side: 128")
    (folder / "recipe.yaml").write_text(f"{small.rstrip()}{SOURCES}threads: 1\nvalidation_photos: 1\n")
    tree = yaml.safe_load((FOLDER / "table6.yaml").read_text())
    tree["nano"] |= {"recipe": "recipe.yaml", "photos": 2, "clips": 4}
    tree["nano"]["set"]["model.init"] = str(folder / "tiny")
    (folder / "table6.yaml").write_text(yaml.safe_dump(tree))
    return folder


def plan(world, output, seeds=1, rows=(), steps=STEPS):
    path = world / "table6.yaml"
    common = (f"data.root={world}", f"steps={steps}")
    return Plan(path, load_ablation(path), "nano", output, seeds, common, rows)


def run(planned):
    said = []
    table = run_table(planned, HeldOut(2, 4), {"machine": "here"}, said.append)
    return table, said


@pytest.fixture(scope="module")
def interrupted(world, tmp_path_factory):
    """Table 6, interrupted in its third run and started again: the folder, what was said, results before and after."""
    output = tmp_path_factory.mktemp("table6")
    step_of, count = ablations.Run._one_step, []

    def step(self, pieces):
        count.append(1)
        if self.step == 1:
            self._save()
        if len(count) == 2 * STEPS + 3:
            raise KeyboardInterrupt
        return step_of(self, pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations.Run, "_one_step", step)
        with pytest.raises(KeyboardInterrupt):
            run(plan(world, output))
    before = {path: path.read_bytes() for path in output.rglob("result.json")}
    early = (output / "table6.md").read_text()
    return output, run(plan(world, output)), before, early


def test_an_interrupted_table_goes_on_where_it_was(interrupted):
    output, (table, said), before, early = interrupted
    assert len(before) == 2 and all(path.read_bytes() == content for path, content in before.items())
    assert [line.split(":")[0] for line in said] == ["row VMTF, seed 0", "row both, seed 0"]
    results = [json.loads(path.read_text()) for path in output.rglob("result.json")]
    assert len(results) == 4 and [result["resumed_at"] for result in results].count(1) == 1
    assert "2 finished runs" in early and "4 finished runs at nano scale, 3 steps each" in table.read_text()
    assert not list(output.rglob("checkpoints")) and len(list(output.rglob("model.safetensors"))) == 4


def test_an_interrupted_run_is_scored_as_one_that_was_not(interrupted, world, tmp_path):
    run(plan(world, tmp_path, rows=("VMTF",)))
    first, second = (
        json.loads((folder / "runs/VMTF/seed0/result.json").read_text()) for folder in (interrupted[0], tmp_path)
    )
    assert first["scores"] == second["scores"] and (first["resumed_at"], second["resumed_at"]) == (1, 0)
    assert len(first["scores"]) >= 13 and all(0 <= score <= 1 for score in first["scores"].values())


def test_the_rows_are_what_they_say(interrupted):
    output = interrupted[0]
    for row, parts in {"neither": (0, 0), "OVP": (1, 0), "VMTF": (0, 1), "both": (1, 1)}.items():
        config = json.loads((output / "runs" / row / "seed0" / "model" / "config.json").read_text())
        assert (bool(config["perceiver_config"]), bool(config["text_fusion_config"])) == tuple(map(bool, parts))


def test_a_finished_table_is_only_written_again(interrupted, world):
    output, (table, _), _, _ = interrupted
    text = table.read_text()
    table.unlink()
    assert run(plan(world, output))[1] == [] and table.read_text() == text


def test_runs_of_other_settings_are_not_mixed(interrupted, world):
    with pytest.raises(InputError, match=r"seed0 holds a run of other settings \(steps\); give another"):
        run(plan(world, interrupted[0], steps=4))
    other = plan(world, interrupted[0])
    other = replace(other, ablation=replace(other.ablation, nano=replace(other.ablation.nano, clips=6)))
    with pytest.raises(InputError, match=r"other settings \(scored\)"):
        run(other)


def test_a_row_that_is_none(world, tmp_path):
    with pytest.raises(InputError, match="there is no row 'ovp'; the table has neither, OVP, VMTF, both"):
        run(plan(world, tmp_path, rows=("ovp",)))


def test_held_out_samples_are_those_of_held_out_photos_and_do_not_change(world):
    data = load_recipe(world / "recipe.yaml", [f"data.root={world}"]).data
    other = replace(data, sources=data.sources[:1])
    few, many = held_out_clips(data, 6, 2), held_out_clips(other, 6, 4)
    assert [clip.task for clip in few] == 3 * [Task.RVOS] + 3 * [Task.REASON_VOS]
    none = held_out_clips(data, 6, 0)
    for two, four, key in zip(few, many, none, strict=True):
        assert (len(two.frames), len(four.frames), len(key.frames)) == (3, 5, 1)
        assert (two.image == four.image).all() and (two.image == key.image).all()
        assert [each.text for each in two.expressions] == [each.text for each in four.expressions]
        assert [each.text for each in two.expressions] == [each.text for each in key.expressions]
    photos = held_out_photos(data, 2)
    assert [photo.task for photo in photos] == [Task.RES, Task.REASON_SEG]
    assert {sample.id.split("/")[1].split("#")[0] for sample in (*few, *photos)} <= {"1", "8", "9"}


class TestShipped:
    """The four files as they are."""

    @pytest.mark.parametrize("table", TABLES)
    def test_rows_fit_both_recipes(self, table):
        path = FOLDER / f"{table}.yaml"
        ablation = load_ablation(path)
        for scale in ("nano", "paper"):
            planned = Plan(path, ablation, scale, Path("out"), 3)
            assert len(planned.runs()) == 3 * len(ablation.rows)
            recipes = [planned.recipe(row, seed) for row, seed in planned.runs()]
            assert len({recipe.output for recipe in recipes}) == len(recipes)
            assert len({(recipe.steps, recipe.batch_photos) for recipe in recipes}) == 1, "the same budget"
            assert len({json.dumps(recipe.as_tree()["data"]) for recipe in recipes}) == (5 if table == "table9" else 1)

    @pytest.mark.parametrize("table", TABLES[:3])
    def test_rows_are_models(self, table, world):
        """Every row builds, from a saved model too, with fresh modules that depend on the seed."""
        path = FOLDER / f"{table}.yaml"
        planned = Plan(path, load_ablation(path), "nano", Path("out"), 1, (f"model.init={world / 'tiny'}",))
        for row in planned.ablation.rows:
            recipe = planned.recipe(row, 0)
            recipe = replace(recipe, model=replace(recipe.model, config=dict(recipe.model.config)))
            recipe.model.config.pop("backbone_config")
            model, processor = build_model(recipe)
            processor.check_fits(model.config)
            fresh = [name for name in recipe.model.fresh if getattr(model, name) is not None]
            start = tiny_model.build()[0].state_dict()
            same = {
                name for name, value in model.state_dict().items() if name in start and (value == start[name]).all()
            }
            assert {name.split(".")[0] for name in same} >= {"language_model", "backbone", "mask_decoder"}
            assert not [name for name in same if name.split(".")[0] in fresh and "norm" not in name]

    def test_the_papers_overall_is_the_mean_of_its_parts(self):
        """A check of the transcription."""
        for table in TABLES:
            ablation = load_ablation(FOLDER / f"{table}.yaml")
            names = [column.name for column in ablation.columns if column.printed]
            for row in ablation.rows:
                figures = dict(zip(names, row.paper, strict=True))
                parts = [figures[f"ReVOS {part} J&F"] for part in ("reasoning", "referring", "overall")]
                assert abs(sum(parts[:2]) / 2 - parts[2]) <= 0.051
                if table == "table7":
                    assert abs((row.paper[0] + row.paper[1]) / 2 - row.paper[2]) <= 0.051

    def test_the_commands_of_the_papers_scale(self):
        path = FOLDER / "table9.yaml"
        lines = list(commands(Plan(path, load_ablation(path), "paper", Path("out"), 1, ("data.root=d",)), Path("d")))
        assert len(lines) == 10 and lines[0].startswith("instructseg train ") and "revos" not in lines[0]
        assert lines[1].startswith("instructseg evaluate out/runs/image/seed0/model --on refcoco-joined/val ")
        assert " revos/valid --data d -o out/runs/image/seed0/evaluation" in lines[1]


class TestCommand:
    def test_a_table_of_ones_own(self, world, interrupted, tmp_path):
        """A file in place of a name; what is finished there is not done again."""
        shutil.copytree(interrupted[0] / "runs" / "neither", tmp_path / "runs" / "neither")
        asked = [str(world / "table6.yaml"), "--data", str(world), "-o", str(tmp_path), "--steps", str(STEPS)]
        result = CliRunner().invoke(app, ["reproduce", *asked, "--seeds", "1", "--rows", "neither"])
        assert result.exit_code == 0, result.output
        assert "1 finished runs at nano scale" in result.stdout and "# Table 6: OVP and VMTF" in result.stdout

    def test_the_papers_scale_without_a_gpu(self, monkeypatch):
        monkeypatch.chdir(REPOSITORY)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        result = CliRunner().invoke(app, ["reproduce", "table7", "--scale", "paper", "--seeds", "1"])
        assert result.exit_code == 1 and result.stdout.count("instructseg train recipes/paper.yaml ") == 3
        assert "needs a GPU and none is here" in result.stderr

    @pytest.mark.parametrize(
        "name, said", [("table5", "there is no table 'table5'"), ("none.yaml", "none.yaml cannot be read")]
    )
    def test_tables_that_are_none(self, name, said):
        result = CliRunner().invoke(app, ["reproduce", name])
        assert result.exit_code == 1 and result.stderr.startswith("error: ") and said in result.stderr


def test_a_source_to_leave_out_that_is_none(world):
    planned = plan(world, Path("out"))
    row = replace(planned.ablation.rows[0], without={"nano": ["refcoco"]})
    with pytest.raises(RecipeError, match="'refcoco' is no source of the recipe; it has res, reason_seg, rvos"):
        planned.recipe(row, 0)


def test_figures_that_are_missing(world):
    ablation = load_ablation(world / "table6.yaml")
    with pytest.raises(RecipeError, match="row neither has 3 figures of the paper for 4 columns"):
        replace(ablation, rows=(replace(ablation.rows[0], paper=(83.3, 50.2, 55.7)),))
