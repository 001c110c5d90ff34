"""tools/compare_outputs.py: what counts as a difference between two recordings."""

import argparse
import json

import pytest

from tools import compare_outputs


@pytest.fixture
def compare(tmp_path, capsys):
    """Compare two sections "prompts" -> (exit code, what is printed, the report)."""

    def run(first, second, ignore=(), errors=None, section="prompts"):
        paths = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, values in zip(paths, (first, second), strict=True):
            content = {"seconds": {}, "errors": {section: errors or {}}, "sections": {section: values}}
            path.write_text(json.dumps(content))
        options = argparse.Namespace(first=paths[0], second=paths[1], ignore=list(ignore), most=40,
                                     markdown=tmp_path / "report.md", names=None)  # fmt: skip
        code = compare_outputs.compare(options)
        return code, capsys.readouterr().out, (tmp_path / "report.md").read_text()

    return run


def counts(printed):
    """Numbers of equal, reworded, different, missing keys, of errors and of ignored keys."""
    line = next(line for line in printed.splitlines() if line.startswith(("prompts ", "info ")))
    return [int(number) for number in line.replace("(shown only)", "").split()[1:]]


def test_equal_recordings(compare):
    code, printed, _ = compare({"a": "1"}, {"a": "1"})
    assert code == 0 and counts(printed) == [1, 0, 0, 0, 0, 0]


def test_a_changed_and_a_missing_value_are_named(compare):
    code, printed, report = compare({"a": "1", "b": "", "c": "3"}, {"a": "2", "c": "3"})
    assert code == 1 and counts(printed) == [1, 0, 1, 1, 0, 0]
    assert "prompts: a: 1 | 2" in printed and "- `a`: 1 | 2" in report and "- `b`:  | missing" in report


def test_the_last_digit_counts_and_the_type_of_a_float_does_not(compare):
    assert compare({"a": "np.float64(0.1)"}, {"a": "0.1"})[0] == 0
    assert compare({"a": "np.float64(0.1)"}, {"a": "0.10000000000000002"})[0] == 1


def test_a_refusal_may_change_its_words_but_not_become_an_answer(compare):
    code, printed, _ = compare({"a": "refused: no", "b": "refused: no"}, {"a": "refused: never", "b": "0.5"})
    assert code == 1 and counts(printed) == [0, 1, 1, 0, 0, 0]


def test_what_is_ignored_is_counted_with_its_reason(compare):
    code, printed, report = compare(
        {"a/x": "1", "b": "2", "a/same": "0"}, {"a/x": "9", "b": "2", "a/same": "0"}, [("prompts/a/*", "meant")]
    )
    assert code == 0 and counts(printed) == [2, 0, 0, 0, 0, 1] and "| `prompts/a/*` | 1 | meant |" in report


def test_a_step_that_failed_on_both_sides_proves_nothing(compare):
    assert compare({"a": "1"}, {"a": "1"}, errors={"layouts": "KeyError: x"})[0] == 1


def test_configurations_are_shown_only(compare):
    code, printed, _ = compare({"a": "1"}, {"a": "2"}, section="info")
    assert code == 0 and counts(printed) == [0, 0, 1, 0, 0, 0]


def test_tensors_settings_and_losses_have_their_former_names():
    assert compare_outputs.former_tensor("pixel_classification_head.log_scale") == "naming.log_scale"
    assert compare_outputs.former_tensor("pixel_classification_headless.x") == "pixel_classification_headless.x"
    config = {"decoder_config": {"coarsest_in_masks": True}, "perceiver_config": None, "auxiliary_config": None}
    assert compare_outputs.former_config(config) == {
        "decoder_config": {"deepest_in_masks": True, "text_to_pixel": False, "pixel_naming": False},
        "perceiver_config": None,
    }
    line = compare_outputs.former_log({"step": 1, "losses": {"localization_head": 2.0, "mask": 1.0}})
    assert line == {"step": 1, "losses": {"references": 2.0, "mask": 1.0}}
