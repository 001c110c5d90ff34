"""The rename engine: each key decided once, each mismatch reported with names and shapes."""

import pytest
import torch

from instructseg.conversion.rename import check_complete, make_plan
from instructseg.conversion.rules import Fresh, Ignore, Rename, Split, with_prefix
from instructseg.errors import CheckpointError

RULES = (
    Rename("blocks.{i}.out.*", "layers.{i}.o_proj.*"),
    Split("blocks.{i}.qkv.weight", ("layers.{i}.q.weight", "layers.{i}.k.weight", "layers.{i}.v.weight")),
    Rename("words", "words", rows="extend"),
    Rename("queries", "queries", rows="first"),
    Ignore("old.*", "nobody reads it"),
)
SOURCE = {
    "blocks.3.out.weight": (4, 4), "blocks.3.qkv.weight": (12, 4), "words": (5, 4), "queries": (9, 2),
    "old.index": (7,),
}  # fmt: skip
TARGET = {
    "layers.3.o_proj.weight": (4, 4), "layers.3.q.weight": (4, 4), "layers.3.k.weight": (4, 4),
    "layers.3.v.weight": (4, 4), "words": (7, 4), "queries": (6, 2), "mine": (3,),
}  # fmt: skip
FRESH = (Fresh("mine", "new"),)


def test_every_key_goes_where_its_rule_says():
    plan = make_plan("toy", RULES, SOURCE, TARGET)
    assert plan.ignored == {"old.index": "nobody reads it"}
    assert check_complete([plan], TARGET, FRESH) == {"mine": "new"}
    tensors = {key: torch.randn(shape) for key, shape in SOURCE.items()}
    out = dict(plan.apply(tensors.items()))
    assert {name: tuple(tensor.shape) for name, tensor in out.items()} == {
        name: shape for name, shape in TARGET.items() if name != "mine"
    }
    assert torch.equal(out["layers.3.o_proj.weight"], tensors["blocks.3.out.weight"])
    fused = torch.cat([out[f"layers.3.{part}.weight"] for part in "qkv"])
    assert torch.equal(fused, tensors["blocks.3.qkv.weight"])
    assert torch.equal(out["words"][:5], tensors["words"])
    torch.testing.assert_close(out["words"][5:], tensors["words"].mean(0).expand(2, -1))
    assert torch.equal(out["queries"], tensors["queries"][:6])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"new.weight": (2, 3)}, r"new\.weight \[2, 3\]: no rules match it"),
        ({"blocks.3.out.bias": (4,)}, r"blocks\.3\.out\.bias \[4\]: the model has no layers\.3\.o_proj\.bias"),
        ({"blocks.3.out.weight": (4, 5)}, r"blocks\.3\.out\.weight \[4, 5\] .*layers\.3\.o_proj\.weight is \[4, 4\]"),
        ({"blocks.3.qkv.weight": (9, 4)}, r"blocks\.3\.qkv\.weight \[9, 4\] gives \[3, 4\], layers\.3\.q\.weight"),
        ({"blocks.3.qkv.weight": (11, 4)}, r"blocks\.3\.qkv\.weight \[11, 4\] gives \[11, 4\]"),
        ({"words": (8, 4)}, r"words \[8, 4\] gives \[8, 4\], words is \[7, 4\]"),
        ({"queries": (5, 2)}, r"queries \[5, 2\] gives \[5, 2\], queries is \[6, 2\]"),
        ({"queries": (9, 3)}, r"queries \[9, 3\]"),
    ],
)
def test_mismatches_name_keys_and_shapes(change, message):
    with pytest.raises(CheckpointError, match=message):
        make_plan("toy", RULES, SOURCE | change, TARGET)


def test_all_mismatches_are_listed_up_to_a_limit():
    strangers = {f"stranger{index}": (1,) for index in range(20)}
    with pytest.raises(CheckpointError, match=r"stranger0 .*stranger7 .*and 12 more"):
        make_plan("toy", RULES, SOURCE | strangers, TARGET)


def test_what_nothing_fills_is_listed():
    plan = make_plan("toy", RULES, {key: SOURCE[key] for key in SOURCE if key != "words"}, TARGET)
    with pytest.raises(CheckpointError, match=r"words \[7, 4\]: no tensor of the source fills it"):
        check_complete([plan], TARGET, FRESH)
    with pytest.raises(CheckpointError, match=r"mine \[3\]"):
        check_complete([make_plan("toy", RULES, SOURCE, TARGET)], TARGET, ())


def test_two_sources_of_one_tensor_are_refused():
    with pytest.raises(CheckpointError, match="2 rules match it"):
        make_plan("toy", (*RULES, Rename("words", "queries")), SOURCE, TARGET)
    both = (Rename("a", "x"), Rename("b", "x"))
    with pytest.raises(CheckpointError, match="b and a both fill x"):
        make_plan("toy", both, {"a": (1,), "b": (1,)}, {"x": (1,)})
    plan = make_plan("toy", both[:1], {"a": (1,)}, {"x": (1,)})
    with pytest.raises(CheckpointError, match="x: filled by two sources"):
        check_complete([plan, plan], {"x": (1,)}, ())


def test_with_prefix_handles_all_kinds_of_rules():
    moved = with_prefix(RULES, "theirs.", "ours.")
    plan = make_plan("toy", moved, {f"theirs.{key}": shape for key, shape in SOURCE.items()},
                     {f"ours.{key}": shape for key, shape in TARGET.items()})  # fmt: skip
    assert plan.mappings["theirs.blocks.3.qkv.weight"].targets[2] == "ours.layers.3.v.weight"
    assert list(plan.ignored) == ["theirs.old.index"]


def test_a_number_is_a_number():
    with pytest.raises(CheckpointError, match="no rules match it"):
        make_plan("toy", RULES, {"blocks.x.out.weight": (4, 4)}, TARGET)
