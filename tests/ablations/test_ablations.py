"""A miniature of Table 6, with the rows as they are shipped: trained, interrupted, gone on with, scored, written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import painted_world
import pytest
import tiny_model
import yaml
from painted_world import REPOSITORY
from typer.testing import CliRunner

from instructseg.ablations import runs as ablation_runs
from instructseg.ablations.api import TABLES, command_lines, initial_weights
from instructseg.ablations.definitions import load_table
from instructseg.ablations.plan import AblationPlan
from instructseg.ablations.results import TableResults, find_same, recorded_recipe
from instructseg.ablations.runs import run_table
from instructseg.ablations.scoring import ValidationScorer, needs_motion, validation_clips, validation_photos
from instructseg.cli import app
from instructseg.errors import InputError, RecipeError
from instructseg.training.initial_model import build_model
from instructseg.training.recipe import load_recipe
from instructseg.types import Expression, Sample, Task

OUT = Path("out")
OWN = ("text_fusion", "perceiver_order")
FOLDER = REPOSITORY / "src" / "instructseg" / "recipes" / "ablations"
STEPS = 3
SOURCES = """
  sources:
    - {name: composed, ratio: 2, options: {task: res}}
    - {name: composed, ratio: 1, options: {task: reason_seg}}
    - {name: composed_clips, ratio: 2, options: {task: rvos}}
    - {name: composed_clips, ratio: 1, options: {task: reason_vos}}
"""
REST = """
threads: 1
validation_photos: 1
model: {config: {num_reference_frames: 4}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Painted photos, a recipe of all four tasks on a tiny model, and on it tables 6 and 7 as they are shipped."""
    folder = tmp_path_factory.mktemp("world")
    painted_world.paint(folder, photos=range(12), scale=2)
    model, processor = tiny_model.build()
    model.save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    small = painted_world.RECIPE.replace("size: 64, cache_side: 64", "size: 128, cache_side: 128")
    (folder / "recipe.yaml").write_text(f"{small.rstrip()}{SOURCES}{REST}")
    for table in ("table6", "table7"):
        tree = yaml.safe_load((FOLDER / f"{table}.yaml").read_text())
        tree["nano"] |= {"recipe": "recipe.yaml", "photos": 2, "clips": 4}
        tree["nano"]["set"]["model.init"] = str(folder / "tiny")
        (folder / f"{table}.yaml").write_text(yaml.safe_dump(tree))
    return folder


def plan(world, output, seeds=1, rows=(), steps=STEPS, table="table6", results=None):
    path = world / f"{table}.yaml"
    common = (f"data.root={world}", f"steps={steps}")
    return AblationPlan(path, load_table(path), "nano", output, results or output / "results", seeds, common, rows)


def run(planned, start=initial_weights):
    said = []
    table = run_table(planned, ValidationScorer(2, 4), start, {"machine": "here"}, said.append)
    return table, said


@pytest.fixture(scope="module")
def interrupted(world, tmp_path_factory):
    """Table 6, interrupted in its third run and started again: the folder, what was said, results before and after."""
    output = tmp_path_factory.mktemp("ablations")
    step_of, count = ablation_runs.Run.one_step, []

    def step(self, pieces):
        count.append(1)
        if self.step == 1:
            self._save()
        if len(count) == 2 * STEPS + 3:
            raise KeyboardInterrupt
        return step_of(self, pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation_runs.Run, "one_step", step)
        with pytest.raises(KeyboardInterrupt):
            run(plan(world, output))
    before = (output / "results" / "table6.jsonl").read_text()
    early = (output / "results" / "table6.md").read_text()
    return output, run(plan(world, output)), before, early


def test_an_interrupted_table_goes_on_where_it_was(interrupted):
    output, (table, said), before, early = interrupted
    assert [json.loads(line)["row"] for line in before.splitlines()] == ["neither", "OVP"]
    assert (output / "results" / "table6.jsonl").read_text().startswith(before)
    assert [line.split(":")[0] for line in said] == ["row VMTF, seed 0", "row both, seed 0"]
    results = list(TableResults(output / "results", "table6").read().values())
    assert len(results) == 4 and [result["resumed_at"] for result in results].count(1) == 1
    assert "2 finished runs" in early and "4 finished runs at nano scale, 3 steps each" in table.read_text()
    assert not list(output.rglob("checkpoints")) and len(list(output.rglob("model.safetensors"))) == 4


def test_an_interrupted_run_is_scored_as_one_that_was_not(interrupted, world, tmp_path):
    run(plan(world, tmp_path, rows=("VMTF",)))
    first, second = (
        TableResults(folder / "results", "table6").find("VMTF", 0) for folder in (interrupted[0], tmp_path)
    )
    assert first["scores"] == second["scores"] and (first["resumed_at"], second["resumed_at"]) == (1, 0)
    assert len(first["scores"]) >= 13 and all(0 <= score <= 1 for score in first["scores"].values())
    assert first["expressions"].keys() >= {"referring photos", "reasoning photos", "referring clips", "reasoning clips"}
    assert all(first["expressions"].values())


def test_the_rows_are_what_they_say(interrupted):
    output = interrupted[0]
    for row, parts in {"neither": (0, 0), "OVP": (1, 0), "VMTF": (0, 1), "both": (1, 1)}.items():
        config = json.loads((output / "table6" / row / "seed0" / "model" / "config.json").read_text())
        assert (bool(config["perceiver_config"]), bool(config["text_fusion_config"])) == tuple(map(bool, parts))


def test_a_finished_table_is_only_written_again(interrupted, world):
    output, (table, _), _, _ = interrupted
    text = table.read_text()
    table.unlink()
    assert run(plan(world, output))[1] == [] and table.read_text() == text


def test_results_alone_are_enough_to_go_on(interrupted, world, tmp_path):
    """On another machine, where the weights and logs of the runs are not, and the data lies elsewhere."""
    results = shutil.copytree(interrupted[0] / "results", tmp_path / "results")
    lines = (results / "table6.jsonl").read_text().splitlines(keepends=True)
    (results / "table6.jsonl").write_text("".join(line for line in lines if json.loads(line)["row"] != "both"))
    assert str(world / "instances.json") not in (results / "table6.jsonl").read_text()
    moved = shutil.copytree(world, tmp_path / "moved")
    planned = replace(plan(world, tmp_path / "runs", results=results), common=(f"data.root={moved}", f"steps={STEPS}"))
    table, said = run(planned)
    assert [line.split(":")[0] for line in said] == ["row both, seed 0"] and "4 finished runs" in table.read_text()
    assert [path.name for path in (tmp_path / "runs" / "table6").iterdir()] == ["both"]


def test_the_same_run_of_another_table_is_taken_over(interrupted, world, tmp_path):
    results = shutil.copytree(interrupted[0] / "results", tmp_path / "results")
    planned = plan(world, tmp_path, rows=("4", "0"), table="table7")
    table, said = run(planned)
    same = "row 4, seed 0: the same run as table6/both-0, whose result is copied"
    assert said[1:] == [same] and said[0].startswith("row 0, seed 0: 3 steps in ")
    copied, own = TableResults(results, "table7").find("4", 0), TableResults(results, "table6").find("both", 0)
    assert copied.pop("taken_over") == "table6/both-0" and copied == own
    assert "2 finished runs" in table.read_text() and run(planned)[1] == []


@pytest.mark.parametrize(
    "changed", [("steps=4",), ("learning_rate=1e-3",), ("seed=5",), ("model.config.num_reference_frames=1",)]
)
def test_a_run_that_differs_is_not_the_same(interrupted, world, changed):
    results, settings = interrupted[0] / "results", {"scale": "nano", "scored": [2, 4]}
    planned = plan(world, Path("elsewhere"))
    both = planned.table.rows[3]
    recipe = planned.recipe(both, 0)
    settings["start"] = initial_weights(recipe)
    assert find_same(results, replace(recipe, threads=7), settings)[0] == "table6/both-0"
    assert find_same(results, recipe, settings | {"start": "other weights"}) is None
    assert find_same(results, recipe, settings | {"scored": [2, 6]}) is None
    other = load_recipe(planned.base(), [*planned.overrides(both, 0), *changed])
    assert find_same(results, other, settings) is None


def test_runs_of_other_settings_are_not_mixed(interrupted, world, tmp_path):
    output = interrupted[0]
    with pytest.raises(
        InputError, match=r"table6\.jsonl: row neither, seed 0 contains a run with other settings \(steps\); use"
    ):
        run(plan(world, output, steps=4))
    with pytest.raises(InputError, match=r"seed0 contains a run with other settings \(steps\); use other folders"):
        run(plan(world, output, steps=4, results=tmp_path))
    other = plan(world, output)
    other = replace(other, table=replace(other.table, nano=replace(other.table.nano, clips=6)))
    with pytest.raises(InputError, match=r"other settings \(scored: \[2, 4\], now \[2, 6\]\)"):
        run(other)
    with pytest.raises(InputError, match=r"other settings \(start: .*, now other weights\)"):
        run(plan(world, output), start=lambda recipe: "other weights")


def test_the_start_is_told_by_the_weights(world, tmp_path):
    recipe = plan(world, tmp_path).recipe(plan(world, tmp_path).table.rows[0], 0)
    copied = shutil.copytree(world / "tiny", tmp_path / "tiny")

    def start(folder):
        return initial_weights(replace(recipe, model=replace(recipe.model, init=folder and str(folder))))

    assert start(copied).split()[1] == start(world / "tiny").split()[1]
    shutil.copytree(copied, tmp_path / "other")
    tiny_model.build(seed=5)[0].save_pretrained(tmp_path / "other")
    assert start(tmp_path / "other").split()[1] != start(copied).split()[1]
    assert start(None) == "pretrained parts"


def test_a_row_that_is_none(world, tmp_path):
    with pytest.raises(InputError, match="unknown row 'ovp'; choose from neither, OVP, VMTF, both"):
        run(plan(world, tmp_path, rows=("ovp",)))


def test_held_out_samples_are_those_of_held_out_photos_and_do_not_change(world):
    data = load_recipe(world / "recipe.yaml", [f"data.root={world}"]).data
    other = replace(data, sources=data.sources[:1])
    few, many = validation_clips(data, 6, 4), validation_clips(other, 6, 8)
    assert [clip.task for clip in few] == 3 * [Task.RVOS] + 3 * [Task.REASON_VOS]
    none = validation_clips(data, 6, 0)
    for four, eight, key in zip(few, many, none, strict=True):
        assert (len(four.frames), len(eight.frames), len(key.frames)) == (5, 9, 1)
        assert all((frame == same).all() for frame, same in zip(four.frames, eight.frames[::2], strict=True))
        assert (four.image == eight.image).all() and (four.image == key.image).all()
        for first, *rest in zip(four.expressions, eight.expressions, key.expressions, strict=True):
            assert all(first.text == each.text and np.array_equal(first.mask, each.mask) for each in rest)
        assert any(each.mask is not None for each in four.expressions)
    assert len({clip.key for clip in validation_clips(data, 20, 4)}) > 1, "any moment may be asked about"
    photos = validation_photos(data, 2)
    assert [photo.task for photo in photos] == [Task.RES, Task.REASON_SEG]
    assert {sample.id.split("/")[1].split("#")[0] for sample in (*few, *photos)} <= {"1", "8", "9"}


def test_where_needs_motion():
    """Of two dogs, of the only cat, of all dogs; of what is not about motion; of what cannot be seen."""
    regions = np.array([[-1, 0, 0, -1], [1, 1, 0, 0]], np.int16)  # a cat; a dog on the left, another on the right
    regions = np.where(regions < 0, regions, 1 - regions)
    left, dogs = regions == 0, np.zeros((2, 4), bool)
    dogs[:, 1:] = regions[:, 1:] == 1
    one = dogs & (np.arange(4) < 2)
    said = [(left, "motion"), (dogs, "motion"), (one, "motion"), (one, "unique"), (None, "hidden")]
    expressions = tuple(Expression("x", mask, kind) for mask, kind in said)
    picture = np.zeros((2, 4, 3), np.uint8)
    sample = Sample("clip", Task.RVOS, (picture,), expressions, 0, regions, ("cat", "dog"))
    assert [needs_motion(sample, place) for place in range(5)] == [False, False, True, False, False]


class TestShipped:
    """The files as they are: the paper's four tables, and our own comparisons."""

    @pytest.mark.parametrize("table", [*TABLES, *OWN])
    def test_rows_fit_both_recipes(self, table):
        path = FOLDER / f"{table}.yaml"
        ablation = load_table(path)
        for scale in ("nano", "paper"):
            planned = AblationPlan(path, ablation, scale, OUT, OUT, 3)
            assert len(planned.runs()) == 3 * len(ablation.rows)
            recipes = [planned.recipe(row, seed) for row, seed in planned.runs()]
            assert len({recipe.output for recipe in recipes}) == len(recipes)
            assert len({(recipe.steps, recipe.batch_photos) for recipe in recipes}) == 1, "the same budget"
            assert len({json.dumps(recipe.as_tree()["data"]) for recipe in recipes}) == (5 if table == "table9" else 1)

    def test_rows_that_are_the_same_run(self):
        """The one with everything stands in three tables."""
        same = []
        for table, name in (("table6", "both"), ("table7", "4"), ("table8", "both")):
            path = FOLDER / f"{table}.yaml"
            planned = AblationPlan(path, load_table(path), "nano", OUT, OUT, 1, (), (name,))
            same.append((recorded_recipe(planned.recipe(*planned.runs()[0])), planned.settings))
        assert same[0] == same[1] == same[2]

    @pytest.mark.parametrize("table", [*TABLES[:3], *OWN])
    def test_rows_are_models(self, table, world):
        """Every row builds, from a saved model too, with fresh modules that depend on the seed."""
        path = FOLDER / f"{table}.yaml"
        planned = AblationPlan(path, load_table(path), "nano", OUT, OUT, 1, (f"model.init={world / 'tiny'}",))
        for row in planned.table.rows:
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
            ablation = load_table(FOLDER / f"{table}.yaml")
            names = [column.name for column in ablation.columns if column.printed]
            for row in ablation.rows:
                figures = dict(zip(names, row.paper, strict=True))
                parts = [figures[f"ReVOS {part} J&F"] for part in ("reasoning", "referring", "overall")]
                assert abs(sum(parts[:2]) / 2 - parts[2]) <= 0.051
                if table == "table7":
                    assert abs((row.paper[0] + row.paper[1]) / 2 - row.paper[2]) <= 0.051

    @pytest.mark.parametrize("table", TABLES)
    def test_the_papers_scale_trains_refcoco_as_it_is_scored(self, table):
        """All sentences of an object joined, in training and in the benchmarks; nano's sources stay as they are."""
        path = FOLDER / f"{table}.yaml"
        plan = AblationPlan(path, load_table(path), "paper", OUT, OUT, 1)
        scored = {column.paper.partition("/")[0] for column in plan.table.columns if column.paper.startswith("refcoco")}
        assert all(name.endswith("-joined") for name in scored)
        joined = {
            source.name: source.options.get("joined", False)
            for row, seed in plan.runs() for source in plan.recipe(row, seed).data.sources
        }  # fmt: skip
        assert {name for name, is_joined in joined.items() if is_joined} == {"refcoco", "refcoco+", "refcocog"}

    def test_the_commands_of_the_papers_scale(self):
        path = FOLDER / "table9.yaml"
        plan = AblationPlan(path, load_table(path), "paper", OUT, OUT, 1, ("data.root=d",))
        lines = list(command_lines(plan, Path("d")))
        assert len(lines) == 10 and lines[0].startswith("instructseg train ") and "revos" not in lines[0]
        assert lines[1].startswith("instructseg evaluate out/table9/image/seed0/model --on refcoco-joined/val ")
        assert " revos/valid --data d -o out/table9/image/seed0/evaluation" in lines[1]


class TestCommand:
    def test_a_table_of_ones_own(self, world, interrupted, tmp_path):
        """A file in place of a name; what is finished there is not done again."""
        results = shutil.copytree(interrupted[0] / "results", tmp_path / "results")
        asked = [str(world / "table6.yaml"), "--data", str(world), "-o", str(tmp_path), "--results", str(results)]
        asked += ["--steps", str(STEPS)]
        result = CliRunner().invoke(app, ["reproduce", *asked, "--seeds", "1", "--rows", "neither"])
        assert result.exit_code == 0, result.output
        assert "4 finished runs at nano scale" in result.stdout and "# Table 6: OVP and VMTF" in result.stdout

    def test_the_papers_scale_without_a_gpu(self, monkeypatch):
        monkeypatch.chdir(REPOSITORY)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        result = CliRunner().invoke(app, ["reproduce", "table7", "--scale", "paper", "--seeds", "1"])
        assert result.exit_code == 1 and result.stdout.count("instructseg train paper ") == 3
        assert "expected a GPU for the paper's scale, found none" in result.stderr

    @pytest.mark.parametrize(
        "name, said", [("table5", ".yaml file, got 'table5'"), ("none.yaml", "the recipe none.yaml does not exist")]
    )
    def test_tables_that_are_none(self, name, said):
        result = CliRunner().invoke(app, ["reproduce", name])
        assert result.exit_code == 1 and result.stderr.startswith("error: ") and said in result.stderr


def test_a_source_to_leave_out_that_is_none(world):
    planned = plan(world, Path("out"))
    row = replace(planned.table.rows[0], without={"nano": ["refcoco"]})
    with pytest.raises(RecipeError, match="unknown source 'refcoco'; the recipe has res, reason_seg, rvos"):
        planned.recipe(row, 0)


def test_figures_that_are_missing(world, tmp_path):
    tree = yaml.safe_load((world / "table6.yaml").read_text())
    tree["rows"][0]["paper"] = [83.3, 50.2, 55.7]
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(RecipeError, match=r"row neither: expected 4 figures of the paper, .*, got 3"):
        load_table(tmp_path / "table.yaml")
