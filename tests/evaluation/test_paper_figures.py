"""Sheets in the form of the paper's Figures 6-8: which example goes where, and what a broken one does."""

import numpy as np
import pytest
import tiny_model
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.data.problems import Problems
from instructseg.errors import DataError
from instructseg.evaluation import figure_sheets
from instructseg.evaluation.api import figures
from instructseg.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(*tiny_model.build())


@pytest.fixture
def folder(tmp_path):
    """Two photos, a clip as a folder of frames, and a list with lines that cannot be used."""
    for name, seed in (("a.png", 0), ("b.png", 1), ("clip/0.png", 2), ("clip/1.png", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(tiny_model.photo(seed=seed)).save(tmp_path / name)
    (tmp_path / "list.csv").write_text(
        "photo,sentence,task\na.png,the dog,\nb.png,what can fly?,\nb.png,the cat,reason_seg\nclip,the dog,\n"
        "missing.png,the dog,\na.png,,\na.png,the dog,nonsense\n"
    )
    return tmp_path


def test_each_example_is_in_its_figure_and_broken_lines_are_reported(segmenter, folder, monkeypatch):
    drawn = {}
    for name, draw in figures.SHEETS.items():
        monkeypatch.setitem(
            figures.SHEETS, name, lambda rows, name=name, draw=draw: drawn.update({name: rows}) or draw(rows)
        )
    problems, said = Problems(), []
    paths = figures.write_figures(segmenter, folder / "list.csv", folder / "out", problems, said.append)
    assert [path.name for path in paths] == ["figure6.jpg", "figure7.jpg", "figure8.jpg"]
    texts = {name: [row.text.partition(" (no")[0] for row in rows] for name, rows in drawn.items()}
    assert texts == {"figure6": ["the dog"], "figure7": ["what can fly?", "the cat"], "figure8": ["the dog"]}
    assert np.array_equal(drawn["figure6"][0].pictures[0], tiny_model.photo(seed=0))
    assert len(drawn["figure8"][0].pictures) == 2, "a clip shows as many frames as it has, at most five"
    assert [str(problem).partition("list.csv, ")[2].partition(":")[0] for problem in problems.faults] == [
        "line 7", "line 8", "line 6"
    ]  # fmt: skip
    assert all(Image.open(path).width == figure_sheets.WIDTH for path in paths)


def test_a_list_without_a_usable_line_is_refused(segmenter, tmp_path):
    (tmp_path / "list.jsonl").write_text('{"photo": "none.png", "sentence": "the dog"}\n')
    with pytest.raises(DataError, match=r"no example can be used: .*list.jsonl, line 1: .*none.png does not exist"):
        figures.write_figures(segmenter, tmp_path / "list.jsonl", tmp_path, Problems(), lambda text: None)
    assert not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("sheet", figures.SHEETS.values(), ids=figures.SHEETS)
def test_pictures_of_every_form_fit_and_keep_their_proportions(sheet):
    """Upright, wide and tiny pictures, of one value each; every row is on the sheet, nothing is cut off."""
    sizes = [(900, 300), (200, 2000), (9, 7), (500, 500)]
    rows = [
        figure_sheets.FigureRow("word " * 40, (np.full((*size, 3), 10 + 40 * number, np.uint8),) * 2)
        for number, size in enumerate(sizes)
    ]
    picture = sheet(rows)
    assert picture.shape[1] == figure_sheets.WIDTH and (picture[[0, -1]] == 255).all()
    for number, (height, width) in enumerate(sizes):
        places = np.argwhere((picture == 10 + 40 * number).all(-1))
        tall = np.ptp(places[:, 0]) + 1
        assert len(places) == pytest.approx(2 * tall * tall * width / height, rel=0.1)


def test_many_examples_fill_several_sheets(tmp_path):
    rows = [figure_sheets.FigureRow("the dog", (np.zeros((20, 30, 3), np.uint8),) * 2)] * (figures.ROWS + 1)
    written = figures._write(tmp_path, "figure7", rows)
    assert [path.name for path in written] == ["figure7.jpg", "figure7_2.jpg"]


def test_the_command_needs_a_list():
    done = CliRunner().invoke(app, ["reproduce", "figures"])
    assert done.exit_code == 2 and "--examples" in done.stderr
