"""docs/fidelity.md: every class, recipe key, test, option and benchmark that it names exists."""

import ast
import importlib
import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.model.presets import tiny
from instructseg.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "fidelity.md"
NAME = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"[a-z_]+(\.[a-z_]+)*")
TABLES = ("Table 1", "Table 2", "Table 3", "Table 4", "Table 5", "Table 6", "Table 7", "Table 8", "Table 9", "Table 10")


def rows():
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] != "paper"]


def names(column):
    return sorted({name for row in rows() for name in NAME.findall(row[column])})


@cache
def defined_tests(path):
    """Names of a file's tests: test_x, Class::test_y."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    plain = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return plain | {f"{item.name}::{node.name}" for item in classes for node in item.body
                    if isinstance(node, ast.FunctionDef)}  # fmt: skip


def is_recipe_option(name):
    kind = Recipe
    for part in name.split("."):
        if not is_dataclass(kind) or part not in {field.name for field in fields(kind)}:
            return False
        kind = get_type_hints(kind)[part]
    return True


def is_model_option(name):
    value = tiny()
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def test_every_row_has_code_and_a_test():
    assert len(rows()) > 50
    assert [row for row in rows() if len(row) != 4 or not NAME.search(row[1]) or not NAME.search(row[2])] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_the_paper_is_there(table):
    assert re.search(rf"\b{table}\b", DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", names(1))
def test_code_exists(name):
    place, _, attributes = name.partition(":")
    if place.endswith(".yaml"):
        value = yaml.safe_load((ROOT / "src" / "instructseg" / place).read_text(encoding="utf-8"))
        for key in attributes.split("."):
            value = value[key]
        return
    value = importlib.import_module(f"instructseg.{place}")
    for attribute in attributes.split("."):
        value = getattr(value, attribute)


@pytest.mark.parametrize("name", names(2))
def test_tests_exist(name):
    path, _, test = name.partition("::")
    assert test in defined_tests(path)


@pytest.mark.parametrize("name", names(3))
def test_options_and_benchmarks_exist(name):
    if "/" in name:
        assert name in BENCHMARKS
    elif OPTION.fullmatch(name):
        assert is_model_option(name) or is_recipe_option(name)
    else:
        assert name.startswith("instructseg "), "neither an option, a benchmark nor a command"
