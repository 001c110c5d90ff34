#!/usr/bin/env python3
"""Prove that a change of the code changes no output: record everything once before it and once after, and compare.

    python tools/compare_outputs.py record before.json --data DATA --golden GOLDEN     # in the checkout before
    python tools/compare_outputs.py record after.json --data DATA --golden GOLDEN      # in the checkout after
    python tools/compare_outputs.py compare before.json after.json --markdown report.md

`record` runs the `instructseg` that Python finds, on one thread, and writes for each array a SHA-256 over its type,
shape and bytes, and for each number its exact decimal form, under names a person can read. A step that fails is
recorded as an error, and the others go on. `compare` names each difference and ends with exit code 1 if there is one,
or if a step failed on either side: what did not run proves nothing. Keys of the section "info" are shown only.

DATA is the folder of datasets that nano's recipe reads; GOLDEN is the folder of recorded tensors of the authors' code.
Examples, recipes and benchmarks are those of the checkout (--repo, by default the current folder). Datasets that are
not at hand are written in their published layouts, a few noisy pictures each. Compare recordings of one machine only:
other processors round otherwise. Start both with PYTHONPATH=src, so that commands run the code of the checkout too.

What differs from run to run is left out by name, see VOLATILE; folders are replaced by words such as <out>. Tensors,
fields of configurations and terms of the loss that were renamed (model/legacy_names.py) are recorded under their former
names. The script runs with the package before and after the redesign of 2026; see PLACES for names that move later.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import fnmatch
import hashlib
import importlib
import io
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from PIL import Image

# ======================================================================================================================
# The adapter: every access to the package. A name that moved gets another place in its list, the new one first.
# ======================================================================================================================

# fmt: off
PLACES = {
    "Segmenter": ["instructseg:Segmenter"],
    "Task": ["instructseg:Task"],
    "InstructSegError": ["instructseg:InstructSegError"],
    "InstructSegModel": ["instructseg:InstructSegModel"],
    "InstructSegConfig": ["instructseg:InstructSegConfig"],
    "InstructSegProcessor": ["instructseg:InstructSegProcessor"],
    "presets": ["instructseg.model.presets", "instructseg.model.configuration"],
    "verify": ["instructseg.verification.verify:verify", "instructseg.conversion.verify:verify"],
    "load_recipe": ["instructseg.training.recipe:load_recipe"],
    "open_photos": ["instructseg.training.data.photos:open_photos", "instructseg.training.data:open_photos"],
    "compose_config": ["instructseg.training.data.photos:compose_config", "instructseg.training.data:compose_config"],
    "open_mixture": ["instructseg.training.data.mixture:open_mixture", "instructseg.training.mixture:open_mixture"],
    "Composer": ["instructseg.synthesis.composer:Composer", "instructseg.data.compose:Composer"],
    "validation_set": ["instructseg.synthesis.composer:validation_set", "instructseg.data.compose:validation_set"],
    "ValidationClips": [
        "instructseg.synthesis.validation_clips:ValidationClips", "instructseg.data.compose_clips:ValidationClips",
    ],
    "CATALOGUE": ["instructseg.data.catalogue.registry:CATALOGUE", "instructseg.data.catalogue:CATALOGUE"],
    "CocoInstances": ["instructseg.data.readers.coco_instances:CocoInstances"],
    "LabelMaps": ["instructseg.data.readers.label_maps:LabelMaps"],
    "ClipSampler": ["instructseg.data.clip_sampling:ClipSampler", "instructseg.data.clips:ClipSampler"],
    "metrics": ["instructseg.metrics", "instructseg.evaluation.metrics"],
    "template": ["instructseg.prompts:segmentation_template", "instructseg.prompts:template"],
    "chat_template": ["instructseg.prompts:chat_template"],
    "guess_task": ["instructseg.prompts:guess_task"],
    "answered": ["instructseg.model.answers:answered"],
    "conversation": ["instructseg.model.answers:conversation"],
    "open_clip": ["instructseg.media.video:open_clip"],
    "legacy_names": ["instructseg.model.legacy_names"],
}
# fmt: on

# Every step's losses in the log, not every tenth step's only: (module, name) pairs, the first that exists is set to 1.
# (TRAIN, which does so, also writes the former caption on the sheet of pictures, so that its pixels can be compared.)
LOG_EVERY = [("instructseg.training.run", "LOG_EVERY")]


def get(name: str) -> Any:
    """What the package calls `name` today."""
    problems = []
    for place in PLACES[name]:
        module, _, attribute = place.partition(":")
        try:
            found = importlib.import_module(module)
            return getattr(found, attribute) if attribute else found
        except (ImportError, AttributeError) as error:
            problems.append(f"{place}: {error}")
    raise LookupError(f"{name} was not found; add its new place to PLACES ({'; '.join(problems)})")


def former_names(part: str) -> dict[str, str]:
    """What was renamed in the files that people have, today's name -> the former one; empty before the renaming.

    Recordings have the former names, and so the values under two names are compared. `part` is a table of
    `model.legacy_names`: MODULES, CONFIG_FIELDS or LOSS_WEIGHTS.
    """
    try:
        table = getattr(get("legacy_names"), part)
    except LookupError:
        return {}
    former: dict[str, str] = {}
    for old, new in table.items():
        former.setdefault(new, old)
    return former


def former_tensor(name: str) -> str:
    """What a tensor of the model used to be called."""
    for new, old in former_names("MODULES").items():
        if name == new or name.startswith(f"{new}."):
            return old + name.removeprefix(new)
    return name


def former_config(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the former names of its fields, and without the part that only renamed fields are in."""
    tree = {part: dict(fields) if isinstance(fields, dict) else fields for part, fields in tree.items()}
    moved = former_names("CONFIG_FIELDS")
    for new, old in moved.items():
        (new_part, new_field), (old_part, old_field) = new.split("."), old.split(".")
        if isinstance(tree.get(old_part), dict):  # a part that is not there means: none of its fields
            tree[old_part][old_field] = (tree.get(new_part) or {}).pop(new_field, False)
    for part in {new.split(".")[0] for new in moved} - {old.split(".")[0] for old in moved.values()}:
        tree.pop(part, None)
    return tree


def former_log(line: dict[str, Any]) -> dict[str, Any]:
    """A line of a training's log with the former names of the terms of the loss."""
    former = former_names("LOSS_WEIGHTS")
    if "losses" not in line:
        return line
    return {**line, "losses": {former.get(name, name): value for name, value in line["losses"].items()}}


def photo_answer(answer: Any) -> dict[str, Any]:
    """What a photo's answer holds."""
    return {"masks": np.asarray(answer.masks), "scores": np.asarray(answer.scores), "task": answer.task.value,
            "boxes": np.asarray(answer.boxes), "found": bool(answer.found)}  # fmt: skip


def frame_answer(frame: Any) -> dict[str, Any]:
    """What the answer about a single frame of a clip holds, as `track` and `push` give it."""
    return {"index": frame.index, "time": float(frame.time), "name": frame.name, "masks": np.asarray(frame.masks),
            "scores": np.asarray(frame.scores)}  # fmt: skip


def masks_of(answer: Any, at: int) -> np.ndarray:
    """The masks in one frame of a clip's answer."""
    return np.asarray(answer.masks(at) if hasattr(answer, "masks") else answer.frames[at].masks)


def clip_frames(answer: Any) -> list[dict[str, Any]]:
    """The same of each frame of a whole clip's answer, as `segment_video` gives it."""
    return [
        {"index": frame.index, "time": float(frame.time), "name": frame.name, "masks": masks_of(answer, at),
         "scores": np.asarray(frame.scores, np.float32)}
        for at, frame in enumerate(answer.frames)
    ]  # fmt: skip


def clip_facts(answer: Any) -> dict[str, Any]:
    return {"instructions": list(answer.instructions), "tasks": [task.value for task in answer.tasks],
            "error": answer.error}  # fmt: skip


def other_forms(answer: Any) -> dict[str, Any]:
    """A photo's answer as JSON, as COCO results and as pictures."""
    return {"to_dict": answer.to_dict(), "to_coco": answer.to_coco(7), "overlay": answer.overlay(),
            "cutout": answer.cutout()}  # fmt: skip


def as_json(answer: Any) -> dict[str, Any]:
    return answer.to_dict()


def drawn(frame: Any) -> np.ndarray:
    return frame.overlay()


def save(answer: Any, folder: Path, **options: Any) -> dict[str, str | None]:
    """Write an answer's files; returns what `save` calls them."""
    return answer.save(folder, **options).to_dict()


def mismatches(comparison: Any) -> list[str]:
    return comparison.mismatches if hasattr(comparison, "mismatches") else comparison.wrong


def verified(folder: Path) -> dict[str, dict[str, Any]]:
    """Of each recorded file the largest error, how many values were compared, and what is wrong."""
    return {line.name: {"error": line.comparison.error, "values": line.comparison.values,
                        "wrong": list(mismatches(line.comparison))} for line in get("verify")(folder)}  # fmt: skip


def film_frames(path: Path) -> list[dict[str, Any]]:
    """The frames of a video file as the package decodes them."""
    return [{"time": frame.time, "index": frame.index, "image": frame.image} for frame in get("open_clip")(path)]


def composed_photo(made: Any, epoch: int, index: int) -> Any:
    return made.sample(epoch, index)


def composed_clip(made: Any, epoch: int, index: int) -> Any:
    return made.video(epoch, index)


def mixture_of(recipe: Any, steps: int) -> tuple[list[str], Any]:
    """The source of each step of a training, and a function (step, place in its batch) -> sample."""
    mixture = get("open_mixture")(recipe, 4, 2, steps, 0)
    return [mixture.name(step) for step in range(steps)], mixture.sample


def proposals(segmenter: Any, image: np.ndarray, texts: list[str], task: Any) -> dict[str, np.ndarray]:
    """What the model computes, before anything is chosen."""
    import torch

    inputs = segmenter.processor([(image,)], [texts], [task])
    with torch.inference_mode():
        output = segmenter.model(**inputs.model_kwargs)
    return {"pixels": inputs.pixel_values, "mask_logits": output.mask_logits, "score_logits": output.score_logits}


def sample_facts(sample: Any, frames: int = 3) -> dict[str, Any]:
    """Everything in a sample of a dataset; of a clip's frames and masks the first few and the last."""
    count = len(sample.frames)
    places = sorted({*range(min(frames, count)), *([count - 1] if count else []), *([sample.key] if count else [])})
    facts: dict[str, Any] = {
        "id": sample.id, "task": sample.task.value, "key": sample.key, "frames": count,
        "frame names": list(sample.frame_names), "regions": sample.regions, "region names": list(sample.region_names),
    }  # fmt: skip
    for number, each in enumerate(sample.expressions):
        said = {"text": each.text, "kind": each.kind, "id": each.id, "mask": each.mask, "ignore": each.ignore,
                "answer": each.answer, "details": dict(each.details), "area": each.area}  # fmt: skip
        if each.masks is not None:
            said["masks"] = {str(place): each.masks[place] for place in places}
        facts[f"expression {number}"] = said
    for place in places:
        try:
            facts[f"frame {place}"] = np.asarray(sample.frames[place])
        except get("InstructSegError") as error:
            facts[f"frame {place}"] = told(error)
    return facts


def instance_facts(photo: Any) -> dict[str, Any]:
    """Everything in a photo with instance masks."""
    facts: dict[str, Any] = {"id": photo.id, "image": photo.image, "instances": len(photo.instances)}
    for number, each in enumerate(photo.instances):
        facts[f"instance {number}"] = {"name": each.name, "mask": each.mask, "crowd": each.crowd}
    return facts


def open_dataset(name: str, root: Path, split: str, **options: Any) -> Any:
    return get("CATALOGUE")[name].open(root, split, **options)


def dataset_splits() -> dict[str, list[str]]:
    return {name: list(entry.splits) for name, entry in get("CATALOGUE").items()}


def nano_data(data: Path, repo: Path) -> Any:
    """The data section of nano's recipe."""
    return get("load_recipe")(nano_recipe(repo), [f"data.root={data}"]).data


def nano_recipe(repo: Path) -> Path | str:
    """How the package is given nano's recipe: a file of the checkout, since it is packaged by its name."""
    path = repo / "recipes" / "nano.yaml"
    return path if path.exists() else "nano"


def layout_facts(layout: Any) -> dict[str, Any]:
    """All tensors of a sequence's layout, and who sees whom."""
    former = {"expression_mask": "asked"}
    facts = {former.get(name, name): value for name, value in vars(layout).items()}
    return {**facts, "attention": layout.attention_mask()}


def prompt_pieces(pieces: Any) -> list[list[Any]]:
    return [[piece.block.value, list(piece.ids), None if piece.labels is None else list(piece.labels),
             piece.visible if hasattr(piece, "visible") else piece.seen] for piece in pieces]  # fmt: skip


def answered(processor: Any, text: str, task: Any, explanation: str) -> Any:
    """A segmentation prompt with labels on the assistant's words and the end token."""
    if hasattr(processor, "prompts"):
        return processor.prompts.segmentation(text, task, explanation, labels=True)
    return get("answered")(processor, text, task, explanation)


def conversation(processor: Any, turns: list[tuple[str, str | None]], photo: bool) -> Any:
    if hasattr(processor, "prompts"):
        return processor.prompts.conversation(turns, photo=photo)
    return get("conversation")(processor, turns, photo=photo)


def instruction_ids(processor: Any, text: str) -> list[int]:
    return list(getattr(processor, "prompts", processor).instruction_ids(text))


def presets() -> dict[str, Any]:
    return {name: getattr(get("presets"), name)() for name in ("tiny", "nano", "paper")}


def tensors_of(model: Any) -> dict[str, Any]:
    """The tensors of a model in its order, under their former names."""
    return {former_tensor(name): value for name, value in model.state_dict().items()}


def processor_for(config: Any, tokenizer: Any) -> Any:
    return get("InstructSegProcessor").for_config(config, tokenizer)


def command(*arguments: Any, cwd: Path, code: str | None = None) -> subprocess.CompletedProcess:
    """`python -m instructseg ...`, or a short Python program with these arguments."""
    start = ["-m", "instructseg"] if code is None else ["-c", code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}
    line = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=7200)


TRAIN = """
import importlib, runpy, sys
for module, name in {places!r}:
    try:
        found = importlib.import_module(module)
    except ImportError:
        continue
    if hasattr(found, name):
        setattr(found, name, 1)
        break
else:
    sys.exit("no place of LOG_EVERY exists; add the new one")
try:
    sheet = importlib.import_module("instructseg.training.logging.prediction_sheet")
except ImportError:
    pass
else:
    draw, former = sheet.contact_sheet, {{"prediction": "answer"}}
    sheet.contact_sheet = lambda images, columns, captions: draw(images, columns, [former.get(c, c) for c in captions])
sys.argv[0] = "instructseg"
runpy.run_module("instructseg", run_name="__main__")
"""


def train(recipe: Path | str, overrides: list[str], cwd: Path) -> subprocess.CompletedProcess:
    return command("train", recipe, *overrides, cwd=cwd, code=TRAIN.format(places=LOG_EVERY))


# ======================================================================================================================
# What is written down, and how
# ======================================================================================================================

VOLATILE = {
    "package_version", "instructseg", "versions", "machine", "seconds", "seconds_of_work", "wall_seconds", "time_s",
    "instructions_per_second", "samples_per_second", "waiting_for_data", "memory_gb", "wall_time", "clock",
}  # fmt: skip
"""Keys of JSON that differ from run to run or from version to version."""
VOLATILE_IN_LOGS = VOLATILE | {"time"}
FEW = 24  # lists and arrays of at most this many numbers are recorded in full beside their hash
LONG_TEXT = 400


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class Book:
    """The recording: values by section and key, written to its file as it grows."""

    def __init__(self, path: Path) -> None:
        self.path, self.sections, self.errors, self.seconds = path, {}, {}, {}
        self.words: list[tuple[str, str]] = []  # folders and what stands for them
        self.section, self._saved = "", 0.0

    def go_on(self) -> None:
        """Keep what the file holds of other sections."""
        whole = json.loads(self.path.read_text(encoding="utf-8"))
        self.sections, self.errors, self.seconds = whole["sections"], whole["errors"], whole["seconds"]

    def open(self, section: str) -> None:
        self.section = section
        self.sections[section], self.errors[section] = {}, {}

    @contextlib.contextmanager
    def step(self, name: str):
        """One step of a section. An exception is recorded as this step's error; the section continues."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            self.errors[self.section][name] = self.scrub(f"{told(error)} (line {where.lineno} of {where.name})")
        print(f"  {self.section} / {name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        self.save()

    def refusal(self, key: str, call: Any) -> None:
        """Something that the package is to refuse: the message is the value."""
        try:
            value = call()
        except (get("InstructSegError"), ValueError) as error:
            self.put(key, f"refused: {error}")
        else:
            self.put(key, value)

    def put(self, key: str, value: Any, volatile: set[str] = VOLATILE) -> None:
        """A value under a key; what has parts is written part by part, each under a longer key."""
        if hasattr(value, "detach"):  # a tensor
            value = value.detach().cpu()
            value = value.float().numpy() if "bfloat16" in str(value.dtype) else value.numpy()
        if isinstance(value, dict):
            self._line(f"{key} (keys)", " ".join(sorted(map(str, set(value) - volatile))))
            for name, part in value.items():
                if name not in volatile:
                    self.put(f"{key}/{name}", part, volatile)
        elif isinstance(value, np.ndarray):
            self._line(key, describe(value))
        elif isinstance(value, list | tuple):
            if all(isinstance(part, int | float | str | bool | None) for part in value):
                self._line(key, self._written(json.dumps(list(value), ensure_ascii=False)))
            else:
                self._line(f"{key} (length)", str(len(value)))
                for number, part in enumerate(value):
                    self.put(f"{key}/{number}", part, volatile)
        else:
            self._line(key, self._written(value if isinstance(value, str) else repr(value)))

    def _written(self, text: str) -> str:
        text = self.scrub(text)
        if len(text) <= LONG_TEXT:
            return text
        return f"{text[:80]}... {len(text)} letters sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def _line(self, key: str, value: str) -> None:
        values, key = self.sections[self.section], self.scrub(key)
        if key in values:
            raise KeyError(f"{key} was recorded twice")
        values[key] = value
        if time.monotonic() - self._saved > 10:
            self.save()

    def scrub(self, text: str) -> str:
        for folder, word in self.words:
            text = text.replace(folder, word)
        return text

    def files(self, key: str, folder: Path, volatile: set[str] = VOLATILE) -> None:
        """All files of a folder: their names, JSON by its content, pictures and the rest by their bytes."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.put(f"{key} (files)", [str(path.relative_to(folder)) for path in paths])
        for path in paths:
            self.file(f"{key}/{path.relative_to(folder)}", path, volatile)

    def file(self, key: str, path: Path, volatile: set[str] = VOLATILE) -> None:
        if path.suffix == ".json":
            self.put(key, json.loads(path.read_text(encoding="utf-8")), volatile)
        elif path.suffix == ".jsonl":
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
                self.put(f"{key}/{number}", json.loads(line), volatile)
        else:
            self._line(key, f"{path.stat().st_size} bytes sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
            if path.suffix in (".png", ".jpg"):
                self.put(f"{key} (pixels)", np.asarray(Image.open(path)))

    def save(self) -> None:
        whole = {"seconds": self.seconds, "errors": self.errors, "sections": self.sections}
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps(whole, indent=0, ensure_ascii=False), encoding="utf-8")
        os.replace(fresh, self.path)
        self._saved = time.monotonic()


def describe(array: np.ndarray) -> str:
    """Type, shape and SHA-256 of an array; its numbers too where there are few."""
    array = np.ascontiguousarray(array)
    head = f"{array.dtype} {tuple(array.shape)}"
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes()).hexdigest()
    if array.dtype == bool and array.size:
        return f"{head} {int(array.sum())} true sha256:{digest}"
    if array.size <= FEW and array.dtype.kind in "iuf":
        return f"{head} {[repr(number) for number in array.ravel().tolist()]} sha256:{digest}"
    return f"{head} sha256:{digest}"


class World:
    """What a recording works on: the checkout, the data, a scratch folder, nano (loaded once)."""

    def __init__(self, book: Book, repo: Path, data: Path | None, golden: Path | None, scratch: Path) -> None:
        self.book, self.repo, self.golden, self.scratch = book, repo, golden, scratch
        self._data, self._segmenter, self._kept = data, None, {}
        pairs = [(scratch, "<out>"), (repo, "<repo>"), (data, "<data>"), (golden, "<golden>")]
        book.words = sorted(((str(path), word) for path, word in pairs if path), key=lambda pair: -len(pair[0]))

    @property
    def data(self) -> Path:
        if self._data is None:
            raise LookupError("no folder of datasets; give --data or set INSTRUCTSEG_DATA")
        return self._data

    def folder(self, name: str) -> Path:
        """A new folder. Its path is the same in every recording, apart from what <out> stands for."""
        path = self.scratch / name
        path.mkdir(parents=True)
        return path

    @property
    def nano(self) -> Any:
        if self._segmenter is None:
            self._segmenter = get("Segmenter").load("nano", device="cpu", dtype="float32")
        return self._segmenter

    def photos(self, validation: bool) -> tuple[Any, Any]:
        """The photos of nano's recipe and its settings of composing."""
        recipe = nano_data(self.data, self.repo)
        return get("open_photos")(recipe, validation=validation), get("compose_config")(recipe)

    def layouts(self) -> Path:
        """Small datasets in every published layout."""
        if "layouts" not in self._kept:
            self._kept["layouts"] = write_layouts(self.folder("layouts"))
        return self._kept["layouts"]

    def run(self, key: str, *arguments: Any, keep: bool = True) -> subprocess.CompletedProcess:
        """A command of `instructseg`: its exit code and what it prints."""
        done = command(*arguments, cwd=self.repo)
        self.book.put(f"{key} (exit code)", done.returncode)
        if keep:
            for number, line in enumerate(done.stdout.splitlines()):
                self.book.put(f"{key} (stdout {number})", line)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr[-600:]}")
        if done.returncode == 1 and not done.stdout.strip():
            self.book.put(f"{key} (stderr)", done.stderr.strip().splitlines()[-1:])
        return done


# ======================================================================================================================
# Small datasets in the layouts in which they are published
# ======================================================================================================================


def noise(seed: int, size: tuple[int, int] = (72, 96)) -> np.ndarray:
    """Blocks of random colours: RGB uint8 (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]].copy()


def box(left: int, top: int = 8, side: int = 24, size: tuple[int, int] = (72, 96)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def code(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run-length code of COCO: lengths of runs down the columns, the first one of zeros."""
    flat = mask.T.ravel()
    borders = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    runs = [end - start for start, end in itertools.pairwise(borders)]
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


FRAMES = [f"{5 * at:05d}" for at in range(5)]


def object_maps() -> list[np.ndarray]:
    """Label maps of a clip: object 1 moves right and leaves before the last frame, object 2 comes in the second."""
    maps = []
    for at in range(len(FRAMES)):
        labels = np.zeros((72, 96), np.uint8)
        if at < len(FRAMES) - 1:
            labels[box(8 + 8 * at)] = 1
        if at:
            labels[box(40, top=40)] = 2
        maps.append(labels)
    return maps


def write_frames(folder: Path, seed: int, suffix: str = ".jpg", names: list[str] = FRAMES) -> None:
    for at, name in enumerate(names):
        write_picture(folder / f"{name}{suffix}", noise(100 * seed + at))


def write_label_maps(folder: Path) -> None:
    for name, labels in zip(FRAMES, object_maps(), strict=True):
        picture = Image.frombytes("P", (96, 72), labels.tobytes())
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{name}.png")


def write_layouts(root: Path) -> Path:
    for number, name in enumerate(("refcoco", "refcoco+", "refcocog")):
        _write_refcoco(root, name, "umd" if name == "refcocog" else "unc", number)
    _write_reason_seg(root)
    _write_clips(root)
    _write_questions(root)
    _write_own(root)
    return root


def _write_refcoco(root: Path, name: str, partition: str, seed: int) -> None:
    ids, splits = [20 + 2 * seed, 21 + 2 * seed], ["train", "val", "testA", "testB", "test"]
    images = [{"id": at, "file_name": f"COCO_train2014_{at:012d}.jpg", "height": 72, "width": 96} for at in ids]
    for at in ids:
        write_picture(root / "coco" / "train2014" / f"COCO_train2014_{at:012d}.jpg", noise(at))
    annotations, refs = [], []
    for number in range(2 * len(splits)):
        left, split = 4 + 5 * number, splits[number % len(splits)]
        corners = [left + 0.6, 10.2, left + 30.9, 14.7, left + 12.3, 50.8]
        shape = [corners] if number % 2 else code(box(left))
        photo = ids[number % 2]
        annotations.append({"id": number, "image_id": photo, "category_id": 1, "iscrowd": 0, "segmentation": shape,
                            "bbox": [left, 8, 24, 24], "area": 576})  # fmt: skip
        words = [f"the left thing {number}", f"blue one {split}", "man in the red shirt"][: 1 + number % 3]
        sentences = [{"sent": text, "raw": text.upper(), "tokens": text.split(), "sent_id": 10 * number + at}
                     for at, text in enumerate(words)]  # fmt: skip
        refs.append({"ref_id": number, "ann_id": number, "image_id": photo, "split": split, "category_id": 1,
                     "file_name": f"COCO_train2014_{photo:012d}_{number}.jpg", "sentences": sentences,
                     "sent_ids": [each["sent_id"] for each in sentences]})  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    write_json(root / name / "instances.json", content)
    (root / name / f"refs({partition}).p").write_bytes(pickle.dumps(refs, 2))
    if name == "refcocog":
        (root / name / "refs(google).p").write_bytes(pickle.dumps(refs, 2))


def _write_reason_seg(root: Path) -> None:
    shapes = [
        {"label": "target", "points": [[8, 8], [60, 10], [55.6, 50.2], [9, 45]]},
        {"label": "ignore", "points": [[20, 20], [40, 20], [40, 40], [20, 40]]},
        {"label": "flag", "points": [[0, 0], [5, 5], [0, 5]]},
    ]
    explained = []
    for number, split in enumerate(("train", "train", "val", "val", "test")):
        text = ["What cuts paper?", "the scissors"] if number % 2 else ["scissors"]
        content = {"text": text, "is_sentence": bool(number % 2), "shapes": shapes[: 2 + number % 2]}
        write_json(root / "ReasonSeg" / split / f"p{number}.json", content)
        write_picture(root / "ReasonSeg" / split / f"p{number}.jpg", noise(40 + number))
        explained.append({"image": f"p{number}.jpg", "query": text[0], "outputs": "It is the scissors."})
    write_json(root / "ReasonSeg" / "explanatory" / "train.json", explained[:2])


def _write_clips(root: Path) -> None:
    maps = object_maps()
    said = {"0": {"exp": "the dog that  leaves", "obj_id": "1"}, "1": {"exp": "the sofa", "obj_id": "2"},
            "2": {"exp": "which one runs away?", "obj_id": "1"}}  # fmt: skip
    home = root / "ref_youtube_vos"
    for seed, split in enumerate(("train", "valid", "test")):
        texts = said if split == "train" else {key: {"exp": each["exp"]} for key, each in said.items()}
        videos = {f"{split}clip": {"expressions": texts, "frames": FRAMES}}
        write_json(home / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
        write_frames(home / split / "JPEGImages" / f"{split}clip", seed)
    write_label_maps(home / "train" / "Annotations" / "trainclip")
    four = {str(4 * (number - 1) + at): {"exp": f"thing {number} as {at} says", "obj_id": str(number)}
            for number in (1, 2) for at in range(4)}  # fmt: skip
    for seed, split in enumerate(("train", "valid"), 3):
        videos = {"judo": {"expressions": four, "frames": FRAMES}}
        write_json(root / "ref_davis" / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
        write_frames(root / "ref_davis" / split / "JPEGImages" / "judo", seed)
        write_label_maps(root / "ref_davis" / split / "Annotations" / "judo")
    codes = {str(16 + number): [code(labels == number) if (labels == number).any() else None for labels in maps]
             for number in (1, 2)}  # fmt: skip
    moving = {"0": {"exp": "the one that leaves", "obj_id": [0], "anno_id": [17]},
              "1": {"exp": "both", "obj_id": [0, 1], "anno_id": [17, 18]},
              "2": {"exp": "the flying elephant", "obj_id": [], "anno_id": []}}  # fmt: skip
    for seed, split in enumerate(("train", "valid_u", "valid"), 5):
        texts = {key: {"exp": each["exp"]} for key, each in moving.items()} if split == "valid" else moving
        videos = {"abc": {"vid_id": 3, "expressions": texts, "frames": FRAMES}}
        write_json(root / "mevis" / split / "meta_expressions.json", {"videos": videos})
        write_frames(root / "mevis" / split / "JPEGImages" / "abc", seed)
        if split != "valid":
            write_json(root / "mevis" / split / "mask_dict.json", codes)
    asked = {"0": {"exp": "the dog(s) that leave(s)", "obj_id": [1], "anno_id": [17], "type_id": 0},
             "1": {"exp": "Which one(s) would you sit on?", "obj_id": [2], "anno_id": [18], "type_id": 1},
             "2": {"exp": "Where is the elephant?", "obj_id": [], "anno_id": [], "type_id": 2},
             "3": {"exp": "everything", "obj_id": [1, 2], "anno_id": [17, 18], "type_id": 0}}  # fmt: skip
    video = {"vid_id": 1, "height": 72, "width": 96, "frames": FRAMES, "expressions": asked}
    for split in ("train", "valid"):
        write_json(root / "revos" / f"meta_expressions_{split}_.json", {"videos": {"abc": video}})
    write_json(root / "revos" / "mask_dict.json", codes)
    ground = {"masks_rle": [code(labels > 0) for labels in maps], "foreground_ratio": [0.1] * len(maps)}
    write_json(root / "revos" / "mask_dict_foreground.json", {"abc": ground})
    write_frames(root / "revos" / "JPEGImages" / "abc", 8)
    _write_jhmdb(root / "jhmdb_sentences", maps)


def _write_jhmdb(root: Path, maps: list[np.ndarray]) -> None:
    from scipy.io import savemat

    frames, masks = root / "Rename_Images/jump/abc", root / "puppet_mask/jump/abc/puppet_mask.mat"
    write_frames(frames, 9, ".png", [f"{at + 1:05d}" for at in range(len(maps))])
    masks.parent.mkdir(parents=True)
    savemat(masks, {"part_mask": np.stack([labels == 1 for labels in maps], axis=2).astype(np.uint8)})
    places = [f"./jhmdb_sentences/{path.relative_to(root)}" for path in (frames, masks)]
    rows = [["abc", f"{places[0]}/{at:05d}.png", places[1], len(maps), "a man jumping"] for at in (1, 3)]
    write_json(root / "jhmdb_sentences_samples_metadata.json", rows)


def _write_questions(root: Path) -> None:
    write_picture(root / "coco" / "val2014" / "COCO_val2014_000000262148.jpg", noise(60))
    answers = [{"answer": text, "answer_id": at} for at, text in enumerate(["net"] * 7 + ["a net", "nets", "fence"])]
    questions = [{"image_id": 262148, "question": text, "question_id": 262148000 + at}
                 for at, text in enumerate(("Where is he looking?",))]  # fmt: skip
    more = {"image_id": 262148, "question_type": "what is", "answer_type": "other", "multiple_choice_answer": "net"}
    notes = [{"question_id": each["question_id"], **more, "answers": answers} for each in questions]
    listing = {"data_subtype": "val2014", "questions": questions}
    write_json(root / "vqav2" / "v2_OpenEnded_mscoco_val2014_questions.json", listing)
    write_json(root / "vqav2" / "v2_mscoco_val2014_annotations.json", {"annotations": notes})
    types = {"structural": "query", "semantic": "attr", "detailed": "directOf"}
    gqa = {f"0{at}": {"question": text, "imageId": "n7", "answer": "tower", "isBalanced": not at % 2,
                      "entailed": ["02"], "types": types}
           for at, text in enumerate(("What is tall?", "Is it red?"))}  # fmt: skip
    write_json(root / "gqa" / "testdev_balanced_questions.json", gqa)
    write_picture(root / "gqa" / "images" / "n7.jpg", noise(61))
    for kind in ("adversarial", "popular", "random"):
        nouns = ("dog", "kite") if kind == "random" else ("dog",)
        lines = [{"question_id": at, "image": "COCO_val2014_000000262148.jpg", "text": f"Is there a {noun}?",
                  "label": ("yes", "no")[at % 2]} for at, noun in enumerate(nouns, 1)]  # fmt: skip
        path = root / "pope" / "coco" / f"coco_pope_{kind}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    problem = {"question": "Which is a fruit?", "choices": ["rock", "pear"], "answer": 1, "hint": "", "image": None,
               "split": "test", "subject": "natural science", "grade": "grade2"}  # fmt: skip
    problems = {"1": problem, "2": {**problem, "image": "image.png", "hint": "Look."}}
    write_json(root / "scienceqa" / "problems.json", problems)
    write_json(root / "scienceqa" / "pid_splits.json", {"test": ["1", "2"]})
    write_picture(root / "scienceqa" / "images" / "test" / "2" / "image.png", noise(62))
    picture = io.BytesIO()
    Image.fromarray(noise(63)).save(picture, "PNG")
    columns = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source", "l2-category"]
    row = dict.fromkeys(columns, "") | {"question": "Which?", "A": "one", "B": "None", "C": "three", "answer": "A",
                                        "category": "ocr", "l2-category": "finegrained",
                                        "image": base64.b64encode(picture.getvalue()).decode()}  # fmt: skip
    (root / "mmbench").mkdir()
    with (root / "mmbench" / "mmbench_dev_20230712.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t")
        writer.writeheader()
        writer.writerow({**row, "index": 6, "C": "", "answer": "B"})


def _write_own(root: Path) -> None:
    """Conversations, photos with LabelMe's files, triples of photo, mask and sentences, photos of painted squares."""
    turns = (("what is the color?", "the dog is red"), ("is there a cat", "there are cat and kite"))
    records = []
    for at in range(3):
        said = []
        for number, (question, answer) in enumerate(turns[: 1 + at % 2]):
            mark = "" if number else "<image>\n"
            said += [{"from": "human", "value": mark + question}, {"from": "gpt", "value": answer}]
        records.append({"id": f"t{at}", "image": f"{at}.jpg", "conversations": said})
        write_picture(root / "coco" / "train2017" / f"{at}.jpg", noise(70 + at))
    write_json(root / "llava_dataset" / "llava_instruct_150k.json", records)
    for at in range(6):
        write_picture(root / "labelme" / f"p{at}.jpg", noise(80 + at))
        shapes = [{"label": name, "points": [[left, 8], [left + 30, 40]], "shape_type": "rectangle", "group_id": None}
                  for name, left in (("dog", 4), ("kite", 50))]  # fmt: skip
        content = {"shapes": shapes, "imagePath": f"p{at}.jpg", "imageData": None, "imageHeight": 72, "imageWidth": 96}
        write_json(root / "labelme" / f"p{at}.json", content)
        write_picture(root / "folder" / f"p{at}.jpg", noise(90 + at))
        if at % 3:
            write_picture(root / "folder" / f"p{at}.png", box(8 * at).astype(np.uint8) * 255)
        (root / "folder" / f"p{at}.txt").write_text(
            "\n".join(f"the dog {number}" for number in range(4)), encoding="utf-8"
        )
    images, annotations = [], []
    names = ("dog", "zebra", "kite", "clock")
    for seed in range(6):
        rng, photo = np.random.default_rng(seed), np.full((64, 64, 3), 128, np.uint8)
        for corner, name in enumerate(rng.permutation(names).tolist()):
            top, left = 32 * (corner // 2) + int(rng.integers(2, 8)), 32 * (corner % 2) + int(rng.integers(2, 8))
            end = int(rng.integers(16, 22))
            photo[top : top + end, left : left + end] = 60 * names.index(name)
            polygon = [left, top, left + end, top, left + end, top + end, left, top + end]
            annotations.append({"id": len(annotations), "image_id": seed, "category_id": names.index(name),
                                "segmentation": [polygon], "iscrowd": 0})  # fmt: skip
        write_picture(root / "painted" / f"{seed}.png", photo)
        images.append({"id": seed, "file_name": f"{seed}.png", "height": 64, "width": 64})
    categories = [{"id": at, "name": name} for at, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "painted" / "instances.json", content)


# ======================================================================================================================
# The sections
# ======================================================================================================================


def verify(world: World) -> None:
    """`instructseg verify` on every folder of recorded tensors, verbatim, and the errors to the last digit."""
    book = world.book
    if world.golden is None:
        raise LookupError("no folder of recorded tensors; give --golden")
    folders = sorted({path.parent for path in world.golden.rglob("*.safetensors")})
    for folder in folders:
        name = str(folder.relative_to(world.golden))
        with book.step(f"command on {name}"):
            world.run(name, "verify", folder)
        with book.step(f"exact errors on {name}"):
            book.put(name, verified(folder))


MORE_TEXTS = {
    "astronaut.jpg": ["the flag", "the face of the woman", "the dog", "What would she wear outside the ship?"],
    "camera.jpg": ["the tripod", "the camera on the left", "What is he using to take pictures?", "the elephant"],
    "chelsea.jpg": ["the eye on the right", "the animal", "Which part of it hears?"],
    "coffee.jpg": ["the saucer", "the thing to stir with", "What can I drink from?", "the largest thing"],
    "raccoon.jpg": ["the leaves", "the nose", "the animal, which is looking at us", "the cup"],
}


def examples(world: World) -> None:
    """nano on the example photos: by Python, by the command line, and the files that are saved."""
    book, folder = world.book, world.repo / "examples"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    texts: dict[str, list[str]] = {}
    for entry in expected:
        texts.setdefault(entry["photo"], []).append(entry["instruction"])
    texts = {name: said + MORE_TEXTS.get(name, []) for name, said in sorted(texts.items())}
    with book.step("several texts, saved"):
        for name, said in texts.items():
            for text, answer in zip(said, world.nano.segment(folder / name, said), strict=True):
                key = f"{name}: {text}"
                book.put(key, photo_answer(answer))
                book.put(f"{key} (other forms)", other_forms(answer))
                book.put(f"{key} (save)", save(answer, world.scratch / "saved"))
        book.files("saved", world.scratch / "saved")
    with book.step("session, other options"):
        for name, said in texts.items():
            session = world.nano.open(folder / name)
            for text in said:
                key = f"session {name}: {text}"
                book.put(f"{key} (plain)", photo_answer(session.segment(text)))
                book.put(f"{key} (3 masks, no threshold)",
                         photo_answer(session.segment(text, max_masks=3, threshold=0.0)))  # fmt: skip
                book.put(f"{key} (threshold 0.7)", photo_answer(session.segment(text, threshold=0.7)))
                book.put(f"{key} (reason_seg)", photo_answer(session.segment(text, task="reason_seg")))
    with book.step("list of photos"):
        photos = [folder / name for name in texts]
        said = [texts[name][0] for name in texts]
        for number, answer in enumerate(world.nano.segment(photos, said, max_masks=3, threshold=0.0)):
            book.put(f"list/{number}", photo_answer(answer))
        for number, answer in enumerate(world.nano.segment(photos, "the animal")):
            book.put(f"list, one text/{number}", photo_answer(answer))
    with book.step("raw proposals"):
        for name, said in texts.items():
            image = np.asarray(Image.open(folder / name).convert("RGB"))
            book.put(f"proposals {name}", proposals(world.nano, image, said[:3], get("Task").RES))
    with book.step("other inputs"):
        path, text = folder / "chelsea.jpg", "the cat"
        picture = Image.open(path)
        inputs = {"str": str(path), "bytes": path.read_bytes(), "PIL": picture, "array": np.asarray(picture),
                  "grey": picture.convert("L"), "alpha": picture.convert("RGBA"), "palette": picture.convert("P"),
                  "small": picture.resize((41, 30)), "turned": picture.rotate(90, expand=True)}  # fmt: skip
        for name, photo in inputs.items():
            book.put(f"input {name}", photo_answer(world.nano.segment(photo, text)))
        for name, given in {"no text": "", "blank": "  ", "number": 3, "empty list": []}.items():
            book.refusal(f"refused {name}", lambda given=given: world.nano.segment(path, given))
        book.refusal("refused photo", lambda: world.nano.segment(folder / "missing.jpg", text))
        book.refusal("refused task", lambda: world.nano.segment(path, text, task="rvos"))
        book.refusal("refused threshold", lambda: world.nano.segment(path, text, threshold=2.0))
    with book.step("several masks, saved"):
        answer = world.nano.segment(folder / "coffee.jpg", "the cup", max_masks=3, threshold=0.0)
        save(answer, world.scratch / "several", stem="mine")
        save(answer, world.scratch / "several")
        book.files("several", world.scratch / "several")
    with book.step("conversation"):
        book.put("chat photo", world.nano.chat(folder / "chelsea.jpg", "What is this?", max_new_tokens=8))
        book.put("chat alone", world.nano.chat(None, "What is a cat?", max_new_tokens=8))
    with book.step("eager attention"):
        other = get("Segmenter").load("nano", device="cpu", attention="eager")
        book.put("eager", photo_answer(other.segment(folder / "camera.jpg", "the man", max_masks=3, threshold=0.0)))
    with book.step("command, folder of photos"):
        out, said = world.scratch / "command", ("the cat", "the man", "What can I drink from?")
        done = world.run("command", "segment", folder, *said, "-o", out, "--json", keep=False)
        book.put("command/json", json.loads(done.stdout))
        book.files("command/files", out)
    with book.step("command, one photo"):
        photo, out = folder / "astronaut.jpg", world.scratch / "command one"
        world.run("command one", "segment", photo, "the woman", "the helmet", "--max-masks", "3", "--threshold", "0",
                  "--task", "reason_seg", "-o", out)  # fmt: skip
        book.files("command one/files", out)


def validation(world: World) -> None:
    """Samples of templated/val with nano's answers, and `instructseg evaluate` on benchmarks of every kind."""
    book = world.book
    with book.step("templated/val"):
        photos, config = world.photos(validation=True)
        samples = get("validation_set")(photos, config, seed=0)
        book.put("samples", len(samples))
        book.put("ids of all", [sample.id for sample in samples])
        book.put("texts of all", [each.text for sample in samples for each in sample.expressions])
        for sample in samples[:: max(1, len(samples) // 50)][:50]:
            book.put(f"sample {sample.id}", sample_facts(sample))
            session = world.nano.open(sample.image)
            for number, each in enumerate(sample.expressions):
                answer = session.segment(each.text, sample.task, max_masks=3, threshold=0.0)
                book.put(f"sample {sample.id}/expression {number}/nano", photo_answer(answer))
    for name, root, rows, options in (
        ("templated", "data", ["templated/val"], ["--limit", "8", "--save-masks", "rle"]),
        ("clips off", "data", ["composed_clips/val"], ["--limit", "1"]),
        ("photos", "layouts", ["refcoco/val", "refcoco/testA", "refcoco+/val", "refcocog/test", "refcoco-joined/val",
                               "refcocog-joined/val", "reason_seg/val", "reason_seg-released/val", "reason_seg/test"],
         ["--save-masks", "rle"]),
        ("videos", "layouts", ["revos/valid", "ref_youtube_vos/valid", "ref_davis/valid", "mevis/valid_u",
                               "mevis/valid"], ["--linking", "offline"]),
        ("questions", "layouts", ["vqav2/val", "gqa/testdev_balanced", "pope/coco", "science_qa/test", "mmbench/dev"],
         []),
    ):  # fmt: skip
        with book.step(f"evaluate {name}"):
            _evaluate(world, name, rows, world.data if root == "data" else world.layouts(), options)
    with book.step("table of benchmarks"):
        world.run("evaluate --list", "evaluate", "--list")
    with book.step("scores of saved masks"):
        out = world.scratch / "again"
        shutil.copytree(world.scratch / "evaluate videos" / "mevis" / "valid_u", world.scratch / "saved masks" / "mevis"
                        / "valid_u")  # fmt: skip
        world.run("predictions", "evaluate", "--predictions", world.scratch / "saved masks", "--on", "mevis/valid",
                  "--data", world.layouts(), "-o", out)  # fmt: skip


def _evaluate(world: World, name: str, rows: list[str], root: Path, options: list[str]) -> None:
    out = world.scratch / f"evaluate {name}"
    recipe = nano_recipe(world.repo)
    world.run(f"evaluate {name}", "evaluate", "nano", "--on", *rows, "--data", root, "--recipe", recipe, "-o", out,
              "--device", "cpu", *options)  # fmt: skip
    for row in rows:
        for file in ("samples.jsonl", "results.json"):
            if (out / row / file).exists():
                world.book.file(f"evaluate {name}/{row}/{file}", out / row / file)
            else:
                world.book.put(f"evaluate {name}/{row}/{file}", "is not there")
        paths = sorted(path for path in (out / row).rglob("*") if path.is_file())
        world.book.put(f"evaluate {name}/{row} (files)", [str(path.relative_to(out)) for path in paths])
        for path in paths:
            if path.suffix in (".png", ".jpg"):
                world.book.put(f"evaluate {name}/{path.relative_to(out)} (pixels)", np.asarray(Image.open(path)))


def clips(world: World) -> None:
    """A real clip and composed ones, followed in every way."""
    book = world.book
    source = world.data / "davis2016" / "JPEGImages" / "240p" / "dog"
    folder, names = world.folder("clip/dog"), sorted(path.name for path in source.glob("*.jpg"))[:20:2]
    for name in names:
        shutil.copy(source / name, folder / name)
    pictures = [np.asarray(Image.open(folder / name)) for name in names]
    film = folder.parent / "film.mp4"
    texts = ["the dog", "which animal is walking?"]
    with book.step("film"):
        _write_film(film, pictures)
        book.file("film", film)
        book.put("film (frames)", film_frames(film))
    for name, options in {
        "causal": {}, "linking off": {"linking": "off"}, "key_every 4": {"key_every": 4},
        "relevant": {"references": "relevant"},
    }.items():  # fmt: skip
        with book.step(f"track, {name}"):
            for number, frame in enumerate(world.nano.track(folder, texts, **options)):
                book.put(f"track {name}/{number}", frame_answer(frame))
                if number == 3:
                    book.put(f"track {name}/{number}/overlay", drawn(frame))
    for name, given, options in (
        ("offline", folder, {}), ("linking off", folder, {"linking": "off"}), ("film", film, {"threshold": 0.0}),
        ("exclusive, uniform", folder, {"exclusive": True, "references": "uniform", "every": 2}),
        ("small", film, {"max_side": 200, "start": 0.2, "end": 0.8, "linking": "causal", "task": "reason_vos"}),
        ("pictures", pictures[:6], {"rate": 5.0, "key_every": 4}),
    ):  # fmt: skip
        with book.step(f"segment_video, {name}"):
            answer = world.nano.segment_video(given, texts, **options)
            book.put(f"segment_video {name}", clip_facts(answer))
            for number, frame in enumerate(clip_frames(answer)):
                book.put(f"segment_video {name}/{number}", frame)
            if name in ("offline", "film"):
                book.put(f"segment_video {name}/to_dict", as_json(answer))
                save(answer, world.scratch / f"clip saved {name}")
                book.files(f"segment_video {name}/saved", world.scratch / f"clip saved {name}")
    with book.step("open_video"):
        live = world.nano.open_video(texts, key_every=2)
        for number, picture in enumerate(pictures):
            book.put(f"live/{number}", frame_answer(live.push(picture)))
    with book.step("refused"):
        book.refusal("refused offline live", lambda: world.nano.open_video(texts, linking="offline"))
        book.refusal("refused key_every", lambda: world.nano.segment_video(folder, texts, key_every=0))
        book.refusal("refused references", lambda: world.nano.segment_video(folder, texts, references="none"))
    with book.step("command"):
        out = world.scratch / "clip command"
        done = world.run("command", "segment", film, "the dog", "-o", out, "--json", "--every", "3", "--linking",
                         "causal", keep=False)  # fmt: skip
        book.put("command/json", json.loads(done.stdout))
        book.files("command/files", out)
    with book.step("composed"):
        photos, config = world.photos(validation=True)
        made = get("ValidationClips")(photos, size=config.size, seed=0)
        for number in (1, 2):
            sample = made[number]
            texts = [each.text for each in sample.expressions]
            answer = world.nano.segment_video(list(sample.frames)[6:14], texts)
            for at, frame in enumerate(clip_frames(answer)):
                book.put(f"composed {number}/{at}", frame)


def _write_film(path: Path, pictures: list[np.ndarray]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        stream.options = {"threads": "1"}
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def composer(world: World) -> None:
    """Composed samples by seed and number, and samples of every reader."""
    book = world.book
    with book.step("photos and clips"):
        photos, config = world.photos(validation=False)
        book.put("photos", len(photos))
        made = get("Composer")(photos, config, seed=5)
        for index in range(40):
            book.put(f"photo {index}", sample_facts(composed_photo(made, index % 2, index)))
        for index in range(6):
            book.put(f"clip {index}", sample_facts(composed_clip(made, 0, index), frames=5))
    with book.step("mixture of nano's recipe"):
        recipe = nano_data(world.data, world.repo)
        names, sample = mixture_of(recipe, 40)
        book.put("mixture", names)
        for step in range(4):
            book.put(f"mixture/{step}", sample_facts(sample(step, 1)))
    with book.step("clips to score"):
        photos, config = world.photos(validation=True)
        made = get("ValidationClips")(photos, size=config.size, seed=0)
        for index in range(5):
            book.put(f"scored clip {index}", sample_facts(made[index]))
    with book.step("photos with instances"):
        for name, path, images in (
            ("coco val", "coco_subset/annotations/instances_val2017.json", "coco_subset/val2017"),
            *((name, f"{name}/instances.json", f"{name}/images") for name in ("voc_sbd", "animals7", "balloon",
                                                                              "coco_street")),
        ):  # fmt: skip
            if not (world.data / path).exists():
                book.put(f"instances {name}", "is not there")
                continue
            reader = get("CocoInstances")(world.data / path, world.data / images, max_side=256)
            _instances(book, f"instances {name}", reader)
        names = json.loads((world.data / "ccp" / "label_list.json").read_text(encoding="utf-8"))
        folders = world.data / "ccp" / "images", world.data / "ccp" / "masks"
        _instances(book, "instances ccp", get("LabelMaps")(*folders, names, max_side=256, prefix="ccp"))
    for name, root in (("written", world.layouts()), ("real", real_data(world))):
        with book.step(f"readers, {name} files"):
            _readers(world, name, root)
    with book.step("options of readers"):
        root = world.layouts()
        for name, split, options in (
            ("refcoco", "val", {"joined": True}), ("refcoco", "val", {"joined": True, "released_masks": True}),
            ("reason_seg", "val", {"first_only": False}), ("reason_seg", "val", {"with_ignore": False}),
            ("science_qa", "test", {"images_only": True}), ("ref_youtube_vos", "train", {"all_frames": True}),
            ("folder", "all", {"task": get("Task").REASON_SEG}),
        ):  # fmt: skip
            own = root / name if name == "folder" else root
            _samples(book, f"reader {name} {split} {options}".replace("<", "").replace(">", ""),
                     open_dataset(name, own, split, **options), 2)  # fmt: skip
    with book.step("training samples of clips"):
        for name, split in (("ref_youtube_vos", "train"), ("revos", "train"), ("mevis", "train")):
            sampler = get("ClipSampler")(open_dataset(name, world.layouts(), split), references=2, seed=3)
            for index in range(3):
                book.put(f"drawn {name} {index}", sample_facts(sampler.sample(0, index)))
        sampler = get("ClipSampler")(open_dataset("davis2016", world.data, "val"), seed=1)
        for index in range(3):
            book.put(f"drawn davis2016 {index}", sample_facts(sampler.sample(0, index)))
    with book.step("data check and prepare"):
        for name in ("refcoco", "reason_seg", "revos", "pope", "ref_davis"):
            done = world.run(f"data check {name}", "data", "check", name, world.layouts(), "--json", keep=False)
            book.put(f"data check {name}", json.loads(done.stdout))
        out = world.scratch / "prepared"
        world.run("data prepare", "data", "prepare", "refcoco", world.layouts(), out, "--split", "val")
        _samples(book, "prepared refcoco val", open_dataset("prepared", out, "val"), 2)
        world.run("data list", "data", "list")


def _instances(book: Book, key: str, reader: Any) -> None:
    book.put(f"{key} (length)", len(reader))
    for index in (0, 1, len(reader) // 2):
        book.put(f"{key} {index}", instance_facts(reader[index]))


def real_data(world: World) -> Path:
    """The real files at hand, where the readers look for them."""
    root, data = world.folder("real"), world.data
    for place, target in {
        "coco": "coco_subset", "davis2016": "davis2016", "jhmdb_sentences": "jhmdb_sentences",
        "ReasonSeg": "reasonseg_sample", "pope": "llava_eval/pope", "gqa": "llava_eval/gqa",
        "scienceqa": "llava_eval/scienceqa",
        "llava_dataset/llava_instruct_150k.json": "llava_eval/llava_data/llava_instruct_150k_first_record.json",
        "ref_youtube_vos/meta_expressions/test/meta_expressions.json":
            "ref_youtube_vos/meta_expressions_valid_plus_test_2021.json",
    }.items():  # fmt: skip
        if (data / target).exists():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).symlink_to(data / target)
    return root


def _readers(world: World, kind: str, root: Path) -> None:
    for name, splits in dataset_splits().items():
        own = root / name if name in ("labelme", "folder") else root
        for split in splits:
            try:
                reader = open_dataset(name, own, split)
            except get("InstructSegError") as error:
                world.book.put(f"{kind} {name} {split}", f"refused: {error}")
                continue
            _samples(world.book, f"{kind} {name} {split}", reader, 3)


def _samples(book: Book, key: str, reader: Any, count: int) -> None:
    book.put(f"{key} (length)", len(reader))
    for index in range(min(count, len(reader))):
        try:
            facts = sample_facts(reader[index])
        except get("InstructSegError") as error:
            facts = f"refused: {error}"
        book.put(f"{key} {index}", facts)


TINY_WORDS = (
    "USER : . , ? You need to perform Referring Reasoning Expression Video Object Segmentation on the image video "
    "according Text Prompt ASSISTANT there are is a cat dog kite clock zebra big small red green blue left right of "
    "which one what can fly tell time background color"
)

TINY_RECIPE = """
seed: 3
steps: 8
batch_photos: 2
learning_rate: 3.0e-3
warmup_steps: 3
weight_decay: 0.01
clip_norm: 5.0
ema_decay: 0.9
checkpoint_minutes: 1000
validate_every: 4
threads: 1
lora: {rank: 2, dropout: 0.1}
loss: {num_points: 200, weights: {mask: 5, dice: 5, score: 2, class_positive: 4}}
data:
  coco: [{annotations: painted/instances.json, images: painted}]
  workers: 0
  compose: {size: 64, cache_side: 64, expressions_per_photo: 3}
"""

ONE_EACH = (
    "data.sources=[{name: composed, ratio: 2}, {name: ref_youtube_vos}, {name: refcoco}, "
    "{name: reason_seg}, {name: llava_instruct, split: llava_instruct_150k}, {name: folder, split: all, root: folder}]"
)


def tiny_model(folder: Path) -> Path:
    """The preset tiny with random weights and a tokenizer of whole words, as a folder."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: at for at, word in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *TINY_WORDS.split()]))}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.add_tokens(["[SEG]", "<|endoftext|>"], special_tokens=True)
    torch.manual_seed(0)
    config = presets()["tiny"]
    model = get("InstructSegModel")(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted((former_tensor(name), each) for name, each in model.named_parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    processor_for(config, tokenizer).save_pretrained(folder)
    return folder


def training(world: World) -> None:
    """A few steps of nano and of a tiny model on data of every kind: losses, scores and weights."""
    book = world.book
    with book.step("tiny model"):
        folder = tiny_model(world.scratch / "tiny")
        _weights(book, "tiny at the start", folder)
        (world.scratch / "tiny.yaml").write_text(TINY_RECIPE, encoding="utf-8")
    for name, overrides in {
        "tiny, composed": [],
        "tiny, every source": [ONE_EACH, "steps=16"],
        "tiny, in pieces": [ONE_EACH, "batch_photos=4", "accumulate=2", "gradient_checkpointing=true", "ema_decay=0",
                            "loss.score_target=present_iou", "loss.mask_stride=2"],
    }.items():  # fmt: skip
        with book.step(name):
            given = [f"data.root={world.layouts()}", f"model.init={world.scratch / 'tiny'}", *overrides]
            _train(world, name, world.scratch / "tiny.yaml", given)
    small = [f"data.root={world.data}", "model.init=nano", "batch_photos=1", "threads=1", "data.workers=0",
             "data.compose.size=192", "data.compose.cache_side=256", "data.compose.expressions_per_photo=4",
             "validation_photos=2", "ema_decay=0.5"]  # fmt: skip
    with book.step("nano"):
        recipe = nano_recipe(world.repo)
        _train(world, "nano", recipe, [*small, "steps=3", "mixed_precision=no"])


def _train(world: World, name: str, recipe: Path | str, overrides: list[str]) -> None:
    out, book = world.scratch / f"train {name}", world.book
    done = train(recipe, [f"output={out}", *overrides], world.repo)
    if done.returncode:
        raise RuntimeError(done.stderr[-800:])
    for number, line in enumerate((out / "log.jsonl").read_text(encoding="utf-8").splitlines()):
        book.put(f"{name}/log/{number}", former_log(json.loads(line)), VOLATILE_IN_LOGS)
    book.put(f"{name} (files)", sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()))
    for path in sorted((out / "sheets").glob("*.jpg")):
        book.put(f"{name}/{path.name} (pixels)", np.asarray(Image.open(path)))
    _weights(book, name, out / "model")
    adapters = out / "adapters"
    if adapters.is_dir():
        _weights(book, f"{name} adapters", adapters)


def _weights(book: Book, key: str, folder: Path) -> None:
    """Every tensor of a saved model, and one hash of all."""
    from safetensors import safe_open

    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as tensors:
            for name, stored in sorted((former_tensor(name), name) for name in tensors.keys()):  # noqa: SIM118
                tensor = tensors.get_tensor(stored)
                book.put(f"{key} weights/{name}", tensor)
                digest.update(name.encode() + str(tensor.dtype).encode() + tensor.float().numpy().tobytes())
    book.put(f"{key} weights (all)", digest.hexdigest())


QUESTIONS = [
    "the dog", "the dog on the left", "where is the cup", "where is the best place to sit", "can you find the dog?",
    "Which one would you sit on?", "what is it", "a man, who is tall", "please segment the red ball",
    "the bench where she sits", "isn't there a cat?", "something to drink from, what is it?", "can of soda", "Show me",
    "the person who is the tallest of all those that stand at the far end of the long table near the window",
    "  The   CAT\n", "[SEG] <image> <refer>", "émigré ☕ naïve",
]  # fmt: skip


def prompts(world: World) -> None:
    """Token ids, segments, positions and labels of every task, prompt set and order of blocks."""
    book, tasks = world.book, list(get("Task"))
    processor = world.nano.processor
    with book.step("templates"):
        for kind in ("paper", "released"):
            book.put(f"chat template {kind}", get("chat_template")(kind))
            for order in ("released", "image_first"):
                for task in tasks:
                    for explain in (False, True):
                        book.refusal(f"template {kind} {order} {task.value} explain={explain}",
                                     lambda kind=kind, order=order, task=task, explain=explain:
                                     get("template")(kind, task, order, explain=explain))  # fmt: skip
    with book.step("guessed tasks"):
        for text in QUESTIONS:
            for video in (False, True):
                book.put(f"guess {text!r} video={video}", get("guess_task")(text, video).value)
    for kind in ("paper", "released"):
        for order in ("released", "image_first"):
            for frame_tokens in (True, False):
                changes = {"prompt_set": kind, "block_order": order}
                name = f"{kind} {order}{'' if frame_tokens else ' without OVP'}"
                with book.step(f"layouts, {name}"):
                    _layouts(book, name, changes if frame_tokens else {**changes, "perceiver_config": None},
                             processor.tokenizer)  # fmt: skip
    with book.step("nano's own"):
        for task in tasks:
            for references in (1, 4):
                book.refusal(f"nano {task.value} {references}", lambda task=task, references=references: layout_facts(
                    processor.layout([QUESTIONS[:4], QUESTIONS[4:6]], [task, task], [references, 1])))  # fmt: skip
        frames = [noise(at) for at in range(3)]
        said = [["the dog", "the red kite"], ["the cup"]]
        inputs = processor([frames, frames[:1]], said, [get("Task").RVOS] * 2, [1, 0])
        book.put("batch", {"pixels": inputs.pixel_values, "references": inputs.reference_index,
                           "layout": layout_facts(inputs.layout)})  # fmt: skip
        book.put("tokenizer", {text: instruction_ids(processor, text) for text in QUESTIONS})


def _layouts(book: Book, name: str, changes: dict[str, Any], tokenizer: Any) -> None:
    config = get("InstructSegConfig").from_dict({**presets()["nano"].to_dict(), **changes})
    processor = processor_for(config, tokenizer)
    for task in get("Task"):
        for references in (1, 4):
            book.refusal(f"{name} {task.value} {references}", lambda task=task, references=references: layout_facts(
                processor.layout([QUESTIONS[:3], QUESTIONS[5:6]], [task, task], [references, 1])))  # fmt: skip
        for explanation in ("", "It is the only one that barks."):
            book.refusal(f"{name} {task.value} answered {bool(explanation)}",
                         lambda task=task, explanation=explanation: prompt_pieces(
                             answered(processor, "the dog", task, explanation)))  # fmt: skip
    turns = [("What is this?", "A dog."), ("Is it\nred?", None)]
    for photo in (True, False):
        book.refusal(f"{name} conversation photo={photo}", lambda photo=photo: prompt_pieces(
            conversation(processor, turns, photo)))  # fmt: skip


def configuration(world: World) -> None:
    """Names and sizes of every weight of the presets, and nano in 8 bits."""
    import torch

    book = world.book
    for name, config in presets().items():
        with book.step(name):
            with torch.device("meta"):
                model = get("InstructSegModel")(config)
            shapes = {key: (tuple(value.shape), str(value.dtype)) for key, value in tensors_of(model).items()}
            lines = [f"{key} {shape}" for key, shape in sorted(shapes.items())]
            book.put(f"{name}/tensors", len(lines))
            book.put(f"{name}/parameters", sum(parameter.numel() for parameter in model.parameters()))
            book.put(f"{name}/names and shapes", "\n".join(lines))
            book.put(f"{name}/order of names", list(shapes))
            for part in sorted({key.split(".")[0] for key in shapes}):
                book.put(f"{name}/{part}", "\n".join(line for line in lines if line.split(".")[0].split()[0] == part))
    with book.step("nano's weights"):
        for key, value in tensors_of(world.nano.model).items():
            book.put(f"nano loaded/{key}", value)
    with book.step("export"):
        # From the tiny model: nano's folder already is what export writes.
        if not (world.scratch / "tiny").exists():
            tiny_model(world.scratch / "tiny")
        out = world.scratch / "exported"
        world.run("export", "export", world.scratch / "tiny", out, "--threshold", "0.3")
        _weights(book, "exported", out)
        book.put("exported (files)", sorted(path.name for path in out.iterdir()))
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        book.put("exported/config", former_config(config), VOLATILE | {"transformers_version"})
        answer = get("Segmenter").load(out, device="cpu").segment(noise(5), "the dog", threshold=0.0, max_masks=3)
        book.put("exported/answer", photo_answer(answer))


def info(world: World) -> None:
    """Configurations as they are written; not compared strictly."""
    for name, config in presets().items():
        with world.book.step(name):
            world.book.put(name, former_config(config.to_dict()), VOLATILE | {"transformers_version"})


def metrics(world: World) -> None:
    """Scores of random masks and of sets of words, and the official figures."""
    book, scores = world.book, get("metrics")
    rng = np.random.default_rng(11)
    frames = []
    for number in range(24):
        size = (48, 64) if number % 2 else (97, 131)
        pair = [np.kron(rng.random((-(-size[0] // 8), -(-size[1] // 8))) < share, np.ones((8, 8)))[: size[0], : size[1]]
                .astype(bool) for share in (0.3, 0.35)]  # fmt: skip
        first, second = pair[0], pair[0] ^ (pair[1] & (rng.random(size) < 0.2))
        frames.append((first & (number % 7 != 3), second & (number % 5 != 4), rng.random(size) < 0.1))
    with book.step("single masks"):
        for number, (answer, truth, void) in enumerate(frames):
            for name in ("region_similarity", "contour_accuracy", "iou", "intersection_and_union", "frame_scores"):
                book.put(f"{number}/{name}", getattr(scores, name)(answer, truth))
                book.put(f"{number}/{name} with void", getattr(scores, name)(answer, truth, void))
            for name in ("pixel_accuracy", "released_pixel_accuracy"):
                book.put(f"{number}/{name}", getattr(scores, name)(answer, truth))
            for name in ("robustness", "released_robustness"):
                book.put(f"{number}/{name}", getattr(scores, name)(answer, truth, truth | void))
    even = [frame for number, frame in enumerate(frames) if number % 2]
    answers, truths, voids = (np.stack(part) for part in zip(*even, strict=True))
    with book.step("clips"):
        book.put("clip_scores", list(scores.clip_scores(answers, truths)))
        book.put("clip_scores with void", list(scores.clip_scores(answers, truths, voids)))
        book.put("pairwise", list(scores.pairwise_scores(answers, truths, voids[0])))
        proposed, objects = [answers[at : at + 3] for at in range(8)], [truths[at : at + 2] for at in range(8)]
        found = scores.match_proposals(proposed, objects)
        book.put("matching", {"proposals": list(found.proposals), "J": found.similarity, "F": found.accuracy})
    with book.step("tables of scores"):
        for released in (False, True):
            table = scores.ExpressionScores(released=released)
            for number, (answer, truth, void) in enumerate(frames):
                masks = answer if number % 6 else None, truth if number % 4 else None, void if number % 3 else None
                table.update(("long", "short")[number % 2], *masks)
            table.fail("long", truths[0])
            book.put(f"ExpressionScores released={released}", table.compute())
        table = scores.GeneralizedScores()
        for number, (answer, truth, void) in enumerate(frames):
            table.update(answer if number % 6 else None, truth if number % 4 else None, void if number % 3 else None)
        book.put("GeneralizedScores", table.compute())
        for name, more in (("ClipScores", {}), ("ReVosScores", {}), ("ReVosScores", {"released": True})):
            table = getattr(scores, name)(**more)
            for at, kind in enumerate(("referring", "reasoning", "referring", "absent")):
                table.update(kind, answers[at : at + 5], truths[at : at + 5], voids[at : at + 5])
            table.fail("reasoning")
            book.put(f"{name} {more}", table.compute())
        objects = scores.ObjectScores()
        for number in range(3):
            objects.update(f"bear_{number}", rng.random(9 + number), rng.random(9 + number))
        book.put("ObjectScores", objects.compute())
        many = scores.AnnotatorScores()
        for annotator in ("0", "1"):
            many.update(annotator, "judo_1", rng.random(7), rng.random(7))
        book.put("AnnotatorScores", many.compute())
    with book.step("words"):
        vqa = scores.VqaScores()
        people = ["two", "2", "two", "the two", "three", "3", "none", "dont know", "2", "two."]
        for answer in ("2", "Two dogs", "two.", "0", None, "don't know"):
            book.put(f"vqa {answer}", vqa.update(answer, None, {"answers": people, "answer_type": "number"}))
        book.put("VqaScores", vqa.compute())
        gqa = scores.GqaScores()
        for number, answer in enumerate(("Tower.", "yes", None)):
            details = {"id": str(number), "structural": "query", "semantic": "attr", "entailed": ["1"]}
            book.put(f"gqa {answer}", gqa.update(answer, "tower", details))
        book.put("GqaScores", gqa.compute())
        pope = scores.PopeScores()
        for number, answer in enumerate(("Yes, it is.", "No.", "There is not one", "no idea. yes", None)):
            kind = ("random", "popular")[number % 2]
            book.put(f"pope {answer}", pope.update(answer, ("yes", "no")[number % 2], {"category": kind}))
        book.put("PopeScores", pope.compute())
        science = scores.ScienceQaScores()
        for answer in ("B", "B. pear", "The answer is B.", "pear", None):
            details = {"choices": ["rock", "pear"], "image": True, "grade": "grade7", "subject": "art"}
            book.put(f"science {answer}", science.update(answer, "B", details))
        book.put("ScienceQaScores", science.compute())
        bench = scores.MmBenchScores()
        for number, answer in enumerate(("A", "the first one", "C.", "A dog is not there", None)):
            details = {"question": number // 2, "pass": number % 2, "passes": 2, "category": "ocr",
                       "choices": ["the first one", "None", "three"]}  # fmt: skip
            book.put(f"mmbench {answer}", bench.update(answer, "A", details))
        book.put("MmBenchScores", bench.compute())
    for name in ("davis_official", "official_answers"):
        with book.step(name):
            _official(world, name)


def _official(world: World, name: str) -> None:
    """A benchmark of official figures, run from a copy so that the checkout's results stay as they are."""
    home = world.folder(f"official {name}")
    (home / "docs" / "results").mkdir(parents=True)
    shutil.copytree(world.repo / "benchmarks", home / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    script = home / "benchmarks" / f"{name}.py"
    start = [str(script)] if script.exists() else ["-m", f"benchmarks.scores.{name}"]
    line = [sys.executable, *start, "--data", str(world.data)]
    done = subprocess.run(line, cwd=home, capture_output=True, text=True, timeout=7200)
    world.book.put(f"{name} (exit code)", done.returncode)
    for number, printed in enumerate(done.stdout.splitlines()):
        if "written" not in printed:
            world.book.put(f"{name} (stdout {number})", printed)
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    world.book.files(name, home / "docs" / "results", VOLATILE | {"python", "command", "commit"})


SECTIONS = {
    each.__name__: each
    for each in (verify, metrics, prompts, configuration, info, examples, clips, composer, validation, training)
}
SHOWN_ONLY = {"info"}

# ======================================================================================================================
# The two commands
# ======================================================================================================================


def record(options: argparse.Namespace) -> int:
    import torch

    torch.set_num_threads(1)
    names = [name.strip() for name in options.sections.split(",")] if options.sections else list(SECTIONS)
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        sys.exit(f"there is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    book = Book(options.output)
    if options.sections and options.output.exists():
        book.go_on()
    with tempfile.TemporaryDirectory(prefix="compare-outputs-") as scratch:
        given = [path and path.resolve() for path in (options.repo, options.data, options.golden)]
        world = World(book, *given, Path(scratch).resolve())
        for name in names:
            start = time.perf_counter()
            book.open(name)
            print(f"{name}: {SECTIONS[name].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
            try:
                SECTIONS[name](world)
            except Exception as error:
                book.errors[name]["the whole section"] = book.scrub(told(error))
            book.seconds[name] = round(time.perf_counter() - start, 1)
            book.save()
    for name in names:
        errors = book.errors[name]
        print(f"{name:14} {len(book.sections[name]):7,} keys {len(errors):3} errors {book.seconds[name]:7.1f} s")
        for step, error in errors.items():
            print(f"    {step}: {error}")
    return 1 if any(book.errors.values()) else 0


def compare(options: argparse.Namespace) -> int:
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (options.first, options.second))
    rows, details, bad = [], [], False
    patterns = [pattern for pattern, _ in options.ignore]
    hits = dict.fromkeys(patterns, 0)
    names = [*first["sections"], *(name for name in second["sections"] if name not in first["sections"])]
    for name in names:
        before, after = (side["sections"].get(name, {}) for side in (first, second))
        both = {**before, **after}
        different = [key for key in both if not _same(before.get(key), after.get(key))]
        fitting = {key: _matching(f"{name}/{key}", patterns) for key in different}
        ignored = {key: pattern for key, pattern in fitting.items() if pattern}
        for pattern in ignored.values():
            hits[pattern] += 1
        keys = [key for key in both if key not in ignored]
        lines, reworded = [], 0
        for key in keys:
            if not _same(before.get(key), after.get(key)):
                if all(side.get(key, "").startswith("refused: ") for side in (before, after)):
                    reworded += 1
                    continue
                sides = [side.get(key, "missing") for side in (before, after)]
                lines.append((key, " | ".join(sides)))
        errors = [(side, step, error) for side, whole in (("first", first), ("second", second))
                  for step, error in whole["errors"].get(name, {}).items()]  # fmt: skip
        absent = sum(key not in before or key not in after for key in keys)
        equal = len(keys) - len(lines) - reworded
        rows.append((name, equal, reworded, len(lines) - absent, absent, len(errors), len(ignored)))
        details.append((name, lines, errors))
        bad |= bool(errors) or (bool(lines) and name not in SHOWN_ONLY)
    print("\n".join(_report(rows, details, options.most, bad)))
    if options.markdown:
        options.markdown.write_text("\n".join(_markdown(rows, details, hits, options, bad)) + "\n", encoding="utf-8")
    return int(bad)


def _same(first: str | None, second: str | None) -> bool:
    """Equal, to the last digit; a float of NumPy may have become one of Python."""
    if first is None or second is None:
        return False
    return NUMPY_FLOAT.sub(r"\1", first) == NUMPY_FLOAT.sub(r"\1", second)


NUMPY_FLOAT = re.compile(r"^np\.float64\((.*)\)$")


def _matching(key: str, patterns: list[str]) -> str | None:
    """The first pattern that fits."""
    return next((pattern for pattern in patterns if fnmatch.fnmatchcase(key, pattern)), None)


def _report(rows: list, details: list, most: int, bad: bool) -> list[str]:
    out = []
    for name, lines, errors in details:
        out += [f"{name}: {key}: {what}" for key, what in lines[:most]]
        out += [f"{name}: ... and {len(lines) - most:,} more"] if len(lines) > most else []
        out += [f"{name}: ERROR of the {side} in {step}: {error}" for side, step, error in errors]
    out.append(f"{'section':14} {'equal':>9} {'reworded':>9} {'differ':>8} {'missing':>8} {'errors':>7} {'ignored':>8}")
    for name, *counts in rows:
        shown = "  (shown only)" if name in SHOWN_ONLY else ""
        out.append("{:14} {:9,} {:9,} {:8,} {:8,} {:7,} {:8,}".format(name, *counts) + shown)
    out.append("DIFFERENT" if bad else "EQUAL")
    return out


ABOUT_THE_REPORT = """
Written by `tools/compare_outputs.py compare`; the docstring of that script says what is compared and how. Equal means
to the last bit of an array and to the last digit of a number. What was renamed is compared under its former name. A
refusal is an error that is to be raised; its words may change. Differences in the section `info` do not count.
""".strip()


def _markdown(rows: list, details: list, hits: dict, options: argparse.Namespace, bad: bool) -> list[str]:
    names = options.names or [options.first.name, options.second.name]
    out = [f"# {names[0]} and {names[1]}: {'different' if bad else 'equal'}", ""]
    out += [*ABOUT_THE_REPORT.splitlines(), ""]
    out += ["| section | equal | refused in other words | differ | missing on one side | errors | ignored |"]
    out += ["|---|---|---|---|---|---|---|"]
    out += ["| " + " | ".join([row[0], *(f"{count:,}" for count in row[1:])]) + " |" for row in rows]
    total = [sum(row[at] for row in rows) for at in range(1, 7)]
    out += ["| all | " + " | ".join(f"{count:,}" for count in total) + " |"]
    if options.ignore:
        out += ["", "Different on purpose, and ignored:", "", "| keys | how many | why |", "|---|---:|---|"]
        out += [f"| `{pattern}` | {hits[pattern]:,} | {reason} |" for pattern, reason in options.ignore]
    for name, lines, errors in details:
        if lines or errors:
            out += ["", f"## {name}", ""]
            out += [f"- `{key}`: {what}" for key, what in lines[: options.most]]
            out += [f"- and {len(lines) - options.most:,} more"] if len(lines) > options.most else []
            out += [f"- error of the {side} in {step}: {error}" for side, step, error in errors]
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("record", help="run everything and write down what comes out")
    one.add_argument("output", type=Path, metavar="OUT.json")
    named = os.environ.get("INSTRUCTSEG_DATA")
    one.add_argument("--data", type=Path, default=Path(named) if named else None,
                     help="the datasets that nano's recipe reads (default: $INSTRUCTSEG_DATA)")  # fmt: skip
    one.add_argument("--golden", type=Path, help="the folder of recorded tensors of the authors' code")
    one.add_argument("--repo", type=Path, default=Path(), help="the checkout (default: the current folder)")
    one.add_argument("--sections", help=f"only these, with commas between (others in OUT stay): {', '.join(SECTIONS)}")
    one.set_defaults(run=record)
    two = commands.add_parser("compare", help="name every difference of two recordings")
    two.add_argument("first", type=Path, metavar="A.json")
    two.add_argument("second", type=Path, metavar="B.json")
    two.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary")
    two.add_argument("--ignore", action="append", default=[], nargs=2, metavar=("PATTERN", "REASON"),
                     help="keys (section/key, * and ? allowed) that may differ, and why; may be repeated")  # fmt: skip
    two.add_argument("--names", nargs=2, metavar=("A", "B"), help="what the report calls the two, e.g. their commits")
    two.add_argument("--most", type=int, default=40, help="differences named in each section (default 40)")
    two.set_defaults(run=compare)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
