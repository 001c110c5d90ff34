"""Every recorded file of a folder against our modules: what `instructseg verify` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from instructseg.errors import CheckpointError
from instructseg.verification import modules as modules
from instructseg.verification.metrics import check_metrics
from instructseg.verification.model import RecordedModel
from instructseg.verification.prompts import check_data_semantics
from instructseg.verification.recorded import Comparison, Recorded

MODULES: dict[str, Callable[[Recorded, Comparison], None]] = {
    "ovp": modules.check_ovp,
    "vmtf": modules.check_vmtf,
    "swin": modules.check_swin,
    "msdeform_attn": modules.check_msdeform_attn,
    "pixel_decoder": modules.check_pixel_decoder,
    "predictor": modules.check_predictor,
    "criterion": modules.check_criterion,
    "metrics": check_metrics,
}
PROMPTS = "data_semantics.json"
WEIGHTS = "_weights"


@dataclass(frozen=True)
class Line:
    """The outcome of one file."""

    name: str
    comparison: Comparison

    @property
    def failed(self) -> bool:
        return bool(self.comparison.wrong)

    def __str__(self) -> str:
        found = self.comparison
        verdict = "FAIL" if found.wrong else "pass"
        wrong = f"  {'; '.join(found.wrong[:6])}{' ...' if len(found.wrong) > 6 else ''}" if found.wrong else ""
        return f"{self.name:<28} {verdict}  largest error {found.error:.1e} of {found.values:,} values{wrong}"


def verify(folder: Path) -> Iterator[Line]:
    """A line for each recorded file, modules first, whole models last.

    Whole-model cases need the weights beside them: `model_tiny_eval_image` those of `model_tiny_weights`.
    Raises CheckpointError when the folder holds no recorded file.
    """
    files = {file.stem: file for file in sorted(folder.glob("*.safetensors"))}
    prompts = folder / PROMPTS
    if not files and not prompts.is_file():
        raise CheckpointError(f"{folder} holds no recorded tensors (*.safetensors, {PROMPTS})")
    for name in MODULES:
        if name in files:
            yield _check(name, files.pop(name))
    if prompts.is_file():
        yield _check_prompts(prompts)
    for stem in [stem for stem in files if stem.endswith(WEIGHTS)]:
        weights = files.pop(stem)
        family = stem.removesuffix(WEIGHTS)
        cases = {name: files.pop(name) for name in sorted(files) if name.startswith(f"{family}_")}
        yield from _check_family(stem, weights, cases)
    for name in files:
        yield Line(name, Comparison(wrong=["nothing here knows what it records"]))


@torch.no_grad()
def _check(name: str, file: Path) -> Line:
    return _run(name, lambda result: MODULES[name](Recorded.read(file), result))


def _check_prompts(file: Path) -> Line:
    def compare(result: Comparison) -> None:
        check_data_semantics(json.loads(file.read_text()), result)

    return _run(file.stem, compare)


def _check_family(stem: str, weights: Path, cases: dict[str, Path]) -> Iterator[Line]:
    loaded: list[RecordedModel] = []
    line = _run(stem, lambda _: loaded.append(RecordedModel(Recorded.read(weights))))
    if line.failed:
        yield line
    for name, file in cases.items():
        if not loaded:
            yield Line(name, Comparison(wrong=[f"{stem} does not load"]))
            continue
        with torch.no_grad():
            yield _run(name, lambda result, file=file: loaded[0].check(Recorded.read(file), result))


def _run(name: str, compare: Callable[[Comparison], None]) -> Line:
    """What does not fit at all (missing tensors, wrong sizes) is a failure like a wrong number."""
    result = Comparison()
    try:
        compare(result)
    except (CheckpointError, KeyError, IndexError, ValueError, RuntimeError, TypeError) as error:
        result.wrong.append(" ".join(f"{type(error).__name__}: {error}".split()))
    return Line(name, result)
