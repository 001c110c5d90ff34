"""Random inputs for every parser: a right result or an error of ours. `benchmarks.fuzz.run` tries many more."""

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is in the extra dev")

from benchmarks.fuzz.cases import CASES  # noqa: E402


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_random_inputs(case):
    @hypothesis.settings(
        max_examples=30, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case.inputs)
    def check(value):
        try:
            case.call(value)
        except case.errors:
            return

    check()
