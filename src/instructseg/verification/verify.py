"""Compare every recording in a folder with our modules (`instructseg verify`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from instructseg.errors import CheckpointError
from instructseg.verification import modules
from instructseg.verification.criterion import check_criterion
from instructseg.verification.metrics import check_metrics
from instructseg.verification.model import RecordedModel
from instructseg.verification.prompts import check_data_semantics
from instructseg.verification.recording import Comparison, Recording

MODULES: dict[str, Callable[[Recording, Comparison], None]] = {
    "ovp": modules.check_ovp,
    "vmtf": modules.check_vmtf,
    "swin": modules.check_swin,
    "msdeform_attn": modules.check_msdeform_attn,
    "pixel_decoder": modules.check_pixel_decoder,
    "predictor": modules.check_predictor,
    "criterion": check_criterion,
    "metrics": check_metrics,
}
PROMPTS = "data_semantics.json"
WEIGHTS = "_weights"
MAX_LISTED = 6


@dataclass(frozen=True)
class VerificationResult:
    """The comparison with one file; as a string, the line that `instructseg verify` prints."""

    name: str
    comparison: Comparison

    @property
    def failed(self) -> bool:
        return bool(self.comparison.mismatches)

    def __str__(self) -> str:
        comparison = self.comparison
        listed = "; ".join(comparison.mismatches[:MAX_LISTED])
        more = " ..." if len(comparison.mismatches) > MAX_LISTED else ""
        verdict, details = ("FAIL", f"  {listed}{more}") if self.failed else ("pass", "")
        numbers = f"largest error {comparison.error:.1e} of {comparison.values:,} values"
        return f"{self.name:<28} {verdict}  {numbers}{details}"


def verify(folder: Path) -> Iterator[VerificationResult]:
    """One result per recording, modules first, whole models last.

    Whole-model cases need their weights in the same folder: `model_tiny_eval_image` those of `model_tiny_weights`.
    Raises CheckpointError if the folder has no recordings.
    """
    files = {file.stem: file for file in sorted(folder.glob("*.safetensors"))}
    prompts = folder / PROMPTS
    if not files and not prompts.is_file():
        expected = f"*.safetensors or {PROMPTS} in {folder}"
        raise CheckpointError(f"expected {expected}, got neither; pass a folder of recordings")
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
        yield VerificationResult(name, Comparison(mismatches=["no check exists for this file"]))


@torch.no_grad()
def _check(name: str, file: Path) -> VerificationResult:
    return _run(name, lambda result: MODULES[name](Recording.read(file), result))


def _check_prompts(file: Path) -> VerificationResult:
    def compare(result: Comparison) -> None:
        check_data_semantics(json.loads(file.read_text(encoding="utf-8")), result)

    return _run(file.stem, compare)


def _check_family(stem: str, weights: Path, cases: dict[str, Path]) -> Iterator[VerificationResult]:
    loaded: list[RecordedModel] = []
    loading = _run(stem, lambda _: loaded.append(RecordedModel(Recording.read(weights))))
    if loading.failed:
        yield loading
    for name, file in cases.items():
        if not loaded:
            yield VerificationResult(name, Comparison(mismatches=[f"{stem} does not load"]))
            continue
        with torch.no_grad():
            yield _run(name, lambda result, file=file: loaded[0].check(Recording.read(file), result))


def _run(name: str, compare: Callable[[Comparison], None]) -> VerificationResult:
    """Run a check; an error in it (a missing tensor, a wrong size) counts as a mismatch."""
    result = Comparison()
    try:
        compare(result)
    except (CheckpointError, KeyError, IndexError, ValueError, RuntimeError, TypeError) as error:
        result.mismatches.append(" ".join(f"{type(error).__name__}: {error}".split()))
    return VerificationResult(name, result)
