"""The commands that `kill_sweep` kills: their inputs, made from the example photos, and what must hold after a kill."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import ROOT
from benchmarks.speed import full_size, released_checkpoint
from instructseg.conversion.convert import convert_released
from instructseg.data.prepare import read_facts
from instructseg.data.readers.prepared import Prepared
from instructseg.errors import InstructSegError
from instructseg.evaluation.records import RecordFolder
from instructseg.inference.segmenter import Segmenter
from instructseg.media.folders import MANIFEST, check_manifest, new_folder
from instructseg.media.image import load_image
from instructseg.media.video import open_clip
from instructseg.media.video_writer import VideoWriter
from instructseg.model.storage import save_compact
from instructseg.training import checkpoint
from instructseg.training.checkpoint_entries import is_valid
from instructseg.training.logging.run_log import read_log

FRAMES = 6
TEXTS = ("the cup", "the spoon")


@dataclass(frozen=True)
class Job:
    """A command with an output folder, and the checks of that folder.

    arguments: of `instructseg`, given the output folder.
    problems: what is wrong with the folder after a kill: files taken for whole that are not.
    digest: of the finished folder; equal for a killed and resumed run and for an undisturbed one.
    before: prepares the output folder once, e.g. with an older export.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    problems: Callable[[Path], Iterator[str]]
    digest: Callable[[Path], str]
    before: Callable[[Path], None] = lambda output: None


def make_jobs(scratch: Path) -> list[Job]:
    """Write the inputs into `scratch` and return all jobs."""
    clip, data, photos = (
        write_clip(scratch / "clip.mp4"), write_reason_seg(scratch / "datasets"), write_table(scratch / "photos")
    )  # fmt: skip
    tiny = write_tiny(scratch)
    older = write_older(scratch / "older" / "model")
    convert = ["convert", "released", str(scratch / "released"), "--config", str(scratch / "config.json")]
    evaluate = ["evaluate", str(tiny), "--on", "reason_seg/val", "--data", str(data), "--save-masks", "png"]
    train = ["train", "finetune", f"data={photos}", f"model.init={tiny}", "steps=6", "batch_photos=1", "threads=1"]
    train += ["mixed_precision=no", "checkpoint_minutes=0", "validate_every=3", "validation_photos=2", "data.workers=0"]
    train += ["lora.targets=[q_proj, v_proj]", "model.train=[mask_tokens, text_fusion, mask_decoder]"]
    return [
        Job("segment a clip", lambda out: ["segment", str(clip), *TEXTS, "--model", str(tiny), "-o", str(out)],
            broken_results, digest_results),
        Job("evaluate", lambda out: [*evaluate, "-o", str(out)], broken_records, digest_records),
        Job("data prepare", lambda out: ["data", "prepare", "reason_seg", str(data), str(out), "--split", "val"],
            broken_prepared, lambda out: digest(sorted((out / "data").glob("*.parquet")))),
        Job("convert", lambda out: [*convert, str(out / "model")],
            broken_models, lambda out: digest(model_files(out / "model")), delete_model),
        Job("export over an older export", lambda out: ["export", "nano", str(out / "model")],
            broken_models, lambda out: digest(model_files(out / "model")), lambda out: copy_model(older, out)),
        Job("finetune", lambda out: [*train, f"output={out}"], broken_training,
            lambda out: digest(model_files(out / "model"))),
    ]  # fmt: skip


def write_tiny(scratch: Path) -> Path:
    """A random model of a few thousand weights: with it a command spends much of its time on files."""
    sizes, config = full_size.sizes(tiny=True)
    released_checkpoint.write(scratch / "released", sizes, shard_bytes=200_000)
    config.to_json_file(scratch / "config.json")
    convert_released(scratch / "released", scratch / "half", config)
    segmenter = Segmenter.load(scratch / "half", device="cpu", dtype="float32")
    segmenter.model.save_pretrained(scratch / "tiny")
    segmenter.processor.save_pretrained(scratch / "tiny")
    return scratch / "tiny"


def write_clip(path: Path) -> Path:
    """The example photo of a cup, moved by a few pixels in each frame."""
    photo = load_image(ROOT / "examples" / "coffee.jpg")[::2, ::2]
    with VideoWriter(path, rate=10) as writer:
        for number in range(FRAMES):
            writer.add(np.roll(photo, 3 * number, axis=1), number / 10)
    return path


def examples() -> list[dict[str, str]]:
    """Photo, instruction and mask file of each example."""
    return json.loads((ROOT / "examples" / "expected.json").read_text(encoding="utf-8"))


def write_reason_seg(root: Path) -> Path:
    """The examples as samples of ReasonSeg; the mask is a box."""
    folder = root / "ReasonSeg" / "val"
    folder.mkdir(parents=True)
    for number, example in enumerate(examples()):
        image = load_image(ROOT / "examples" / example["photo"])[::2, ::2]
        Image.fromarray(image).save(folder / f"{number}.jpg")
        rows, columns = np.nonzero(load_image(ROOT / "examples" / example["mask"])[::2, ::2, 0])
        corners = [[int(columns.min()), int(rows.min())], [int(columns.max()), int(rows.min())],
                   [int(columns.max()), int(rows.max())], [int(columns.min()), int(rows.max())]]  # fmt: skip
        shapes = [{"label": "target", "points": corners}]
        content = {"text": [example["instruction"]], "is_sentence": False, "shapes": shapes}
        (folder / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def write_table(folder: Path) -> Path:
    """The examples as photos, masks and sentences, to fine-tune on."""
    folder.mkdir()
    lines = []
    for example in examples():
        photo, mask = (str(ROOT / "examples" / example[key]) for key in ("photo", "mask"))
        lines.append(json.dumps({"photo": photo, "mask": mask, "sentence": example["instruction"]}) + "\n")
    (folder / "annotations.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def write_older(folder: Path) -> Path:
    """nano with other weights, exported: the same files and shards, other content."""
    segmenter = Segmenter.load("nano", device="cpu", dtype="float32")
    with torch.no_grad():
        for parameter in segmenter.model.parameters():
            parameter.mul_(0.5)
    with new_folder(folder) as unfinished:
        save_compact(segmenter.model, unfinished)
        segmenter.processor.save_pretrained(unfinished)
    return folder


def copy_model(model: Path, output: Path) -> None:
    """Put an older export in place of what is there."""
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(model, output / "model")


def delete_model(output: Path) -> None:
    """`convert` refuses an existing destination."""
    shutil.rmtree(output / "model", ignore_errors=True)


def digest(files: list[Path]) -> str:
    """Hash of the files' names and contents."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def model_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != MANIFEST)


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files below `folder` that match, without those in hidden folders."""
    found = folder.rglob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def broken_results(output: Path) -> Iterator[str]:
    """A JSON file says that a result is complete: its masks and its overlay must be."""
    yield from broken_pictures(output)
    for path in visible(output, "*.json"):
        try:
            frames = json.loads(path.read_bytes())["frames"]
            masks = list(path.with_suffix(".masks").glob("*.png"))
            shown = len(list(open_clip(path.with_suffix(".overlay.mp4"))))
        except (InstructSegError, ValueError, KeyError) as error:
            yield f"{path.name}: {error!r}"
            continue
        if not len(frames) == len(masks) == shown == FRAMES:
            yield f"{path.name}: {len(frames)} frames, {len(masks)} masks, {shown} frames of the overlay"


def digest_results(output: Path) -> str:
    """The masks and the JSON file of the result; the encoder's bytes are not compared."""
    (path,) = visible(output, "*.json")
    return digest([path, *sorted(path.with_suffix(".masks").iterdir())])


def broken_pictures(output: Path) -> Iterator[str]:
    for path in visible(output, "*.png"):
        try:
            load_image(path)
        except InstructSegError as error:
            yield f"{path.name}: {error}"


def broken_records(output: Path) -> Iterator[str]:
    """Every record must be read again, and a record's mask must be there."""
    yield from broken_pictures(output)
    folder = output / "reason_seg" / "val"
    try:
        records, _ = RecordFolder(folder).read()
    except InstructSegError as error:
        yield str(error)
        return
    saved = len(visible(output, "*.png"))
    if any("error" in record for record in records.values()) or saved < len(records):
        yield f"{len(records)} records, {saved} masks"
    if (folder / "results.json").is_file() and len(records) != len(examples()):
        yield f"results.json of {len(records)} records"


def digest_records(output: Path) -> str:
    scores = json.loads((output / "reason_seg" / "val" / "results.json").read_bytes())["scores"]
    masks = visible(output, "*.png")
    return digest([output / "reason_seg" / "val" / "samples.jsonl", *masks]) + json.dumps(scores)[:40]


def broken_prepared(output: Path) -> Iterator[str]:
    """A split opens with all its samples, or says that it is unfinished."""
    manifest = output / "val.prepared"
    if not manifest.is_file():
        return
    try:
        read_facts(manifest)
        reader = Prepared(output, "val")
    except InstructSegError as error:
        if "shards are missing" not in str(error):
            yield str(error)
        return
    for index in range(len(reader)):
        try:
            reader[index]
        except InstructSegError as error:
            yield str(error)


def broken_models(output: Path) -> Iterator[str]:
    """A model's folder is absent, or complete, as its manifest says, and loads."""
    model = output / "model"
    if not model.exists():
        return
    try:
        check_manifest(model)
        _load(model, digest(model_files(model)))
    except InstructSegError as error:
        yield str(error)
    if not (model / MANIFEST).is_file():
        yield "the model has no manifest"


@functools.cache
def _load(model: Path, content: str) -> None:
    Segmenter.load(model, device="cpu", dtype="float32")


def broken_training(output: Path) -> Iterator[str]:
    """The newest checkpoint can be read, the log has each step once, and a model that is there is complete."""
    try:
        checkpoint.load(output / "checkpoints", is_valid)
    except InstructSegError as error:
        yield str(error)
    steps = [line["step"] for line in read_log(output / "log.jsonl") if "losses" in line]
    if len(steps) != len(set(steps)):
        yield f"log.jsonl: steps {steps}"
    yield from broken_models(output)
    if (output / "adapters").exists():
        try:
            check_manifest(output / "adapters")
        except InstructSegError as error:
            yield str(error)
