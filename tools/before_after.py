"""Draw the masks of two models for ten instructions and for ten references to one of two, failures included.

    python -m tools.before_after --before FOLDER --after nano --data DATA [--recipe FILE]

Photos and instructions are those of benchmarks.scores.nano_validation. The choice of the ten depends neither on
predictions nor on masks: for each dataset and kind in SLOTS the unused photo whose hash comes first, with its first
instruction of that kind. Only photos that may be shown with attribution take part: of COCO those under CC BY, CC BY-SA,
without known restrictions or works of the United States government, and Clothing Co-Parsing (Apache-2.0).
A green label marks an IoU of at least 0.5 or a correct "no target", an orange one anything else.

The second sheet asks for "the X on the left" and "the X on the right" of held-out COCO photos that show two of X, as
benchmarks.scores.nano_references does: the five photos that may be shown whose hash comes first. Green: the right one.

Writes docs/pictures/before_after.jpg and pairs.jpg, their credits to docs/pictures/README.md, and
docs/results/before_after.json.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from benchmarks.scores.nano_references import open_held_out, outcome, references, to_scene
from instructseg.data.readers.coco_file import load_annotations
from instructseg.errors import DataError
from instructseg.evaluation.provenance import hash_weights
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.segmenter import Segmenter
from instructseg.media.text import Color, panel
from instructseg.metrics.region import iou
from instructseg.synthesis.composer import validation_set
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.recipe import DataRecipe, load_recipe
from instructseg.types import Expression, InstancePhoto, Sample, Task
from instructseg.visualization import NO_TARGET, PALETTE, overlay

MODULE = "tools.before_after"
SEED = 0
SLOTS = (  # Clothing Co-Parsing has no instructions about size and number
    *(("coco", kind) for kind in ("unique", "position", "size", "plural", "relation", "absent")),
    *(("ccp", kind) for kind in ("unique", "color", "function", "absent")),
)
FREE_TO_SHOW = (4, 5, 7, 8)  # ids of COCO's licences
CCP = ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", "https://github.com/bearpaw/clothing-co-parsing")
PAIR_PHOTOS = 5
PAGE, MARGIN, GAP = 1200, 12, 6  # pixels: width of the page, around and between cells, between pictures of a cell
CELL = (PAGE - 3 * MARGIN) // 2
PICTURE, HIGHEST = (CELL - 2 * GAP) // 3, 250  # pixels: at most so wide and so high
WHITE: Color = (255, 255, 255)
RIGHT, WRONG = PALETTE[3], PALETTE[1]
ENOUGH = 0.5  # IoU that counts as right


@dataclass(frozen=True)
class Credit:
    """What a photo may be shown under: the licence's name and address, and where the photo comes from."""

    licence: str
    terms: str
    source: str


@dataclass(frozen=True)
class Case:
    """One instruction about one photo."""

    sample: Sample
    expression: Expression
    other: np.ndarray | None = None
    """The other object of a pair, bool (height, width)."""

    @property
    def photo(self) -> str:
        return photo_of(self.sample)


@dataclass(frozen=True, eq=False)
class CasePrediction:
    """A model's best mask, bool (height, width), or None for "no target", and that mask's score."""

    mask: np.ndarray | None
    score: float


def photo_of(sample: Sample) -> str:
    return sample.id.rsplit("/", 1)[0]


def coco_credits(recipe: DataRecipe) -> dict[str, Credit]:
    """The photos of the recipe's COCO files that may be shown, by photo id."""
    credits = {}
    for entry in recipe.coco:
        content = load_annotations(Path(recipe.root).expanduser() / entry["annotations"])
        licences = {licence["id"]: licence for licence in content.get("licenses", ())}
        for image in content["images"]:
            if image.get("license") in FREE_TO_SHOW and "flickr_url" in image:
                licence = licences[image["license"]]
                credits[f"coco/{image['id']}"] = Credit(licence["name"], licence["url"], image["flickr_url"])
    return credits


def choose(samples: Sequence[Sample], credits: Mapping[str, Credit]) -> list[Case]:
    """A photo for each of SLOTS, none twice. Raises DataError where there is none."""
    chosen: list[Case] = []
    for dataset, kind in SLOTS:
        used = {case.photo for case in chosen}
        cases = [
            Case(sample, expression)
            for sample in samples
            if sample.id.startswith(f"{dataset}/") and (dataset == "ccp" or photo_of(sample) in credits)
            for expression in sample.expressions
            if expression.kind == kind and photo_of(sample) not in used
        ]
        if not cases:
            raise DataError(f"no photo of {dataset} that may be shown has an instruction of kind {kind!r}; give more")
        chosen.append(min(cases, key=_rank))
    return chosen


def choose_pairs(photos: Iterable[InstancePhoto], credits: Mapping[str, Credit]) -> list[Case]:
    """Both references to places of at most `PAIR_PHOTOS` photos that show two of a kind; of a photo, the first kind."""
    cases = []
    for photo in photos:
        if photo.id in credits:
            scene = to_scene(photo)
            pairs = [item for item in references(scene, (), np.random.default_rng(SEED)) if item.kind == "pairs"]
            sample = Sample(f"{photo.id}/pairs", Task.RES, (scene.image,), ())
            cases += [Case(sample, Expression(item.text, item.targets[0], item.kind), item.other) for item in pairs[:2]]
    return sorted(cases, key=_rank)[: 2 * PAIR_PHOTOS]


def _rank(case: Case) -> str:
    return hashlib.sha256(f"{SEED}/{case.photo}".encode()).hexdigest()


def predict(segmenter: Segmenter, case: Case) -> CasePrediction:
    """The best mask if it reaches the model's own score threshold, and its score in any case."""
    best = segmenter.open(case.sample.image).segment(case.expression.text, case.sample.task, threshold=0.0)
    score = float(best.scores[0]) if best.found else 0.0
    refused = not best.found or score < segmenter.model.config.score_threshold
    return CasePrediction(None if refused else best.mask, score)


def judge(
    mask: np.ndarray | None, target: np.ndarray | None, other: np.ndarray | None = None
) -> tuple[str, bool, float | None]:
    """The label under a mask, whether the mask is correct, and its IoU (None without a target).

    Of a pair, a mask is correct if it shows the target and not the `other` object.
    """
    if target is not None and mask is not None and other is not None:
        shown = outcome(mask, target, other)
        return f"{shown}, IoU {iou(mask, target):.2f}", shown == "right", iou(mask, target)
    if target is None:
        return (f"{NO_TARGET}, right", True, None) if mask is None else ("a mask, wrong", False, None)
    if mask is None:
        return f"{NO_TARGET}, IoU 0", False, 0.0
    value = iou(mask, target)
    return f"IoU {value:.2f}", value >= ENOUGH, value


def draw_cell(case: Case, answers: Sequence[CasePrediction]) -> np.ndarray:
    """The instruction above ground truth and the masks before and after: RGB uint8 (height, CELL, 3)."""
    target = case.expression.mask
    truth = f"truth: {NO_TARGET}" if target is None else f"truth ({case.expression.kind})"
    columns = [_column(case.sample.image, target, truth, WHITE)]
    for name, answer in zip(("before", "after"), answers, strict=True):
        words, right, _ = judge(answer.mask, target, case.other)
        columns.append(_column(case.sample.image, answer.mask, f"{name}: {words}", RIGHT if right else WRONG))
    title = panel(f'"{case.expression.text}"', 18, CELL, WHITE, max_lines=2)[..., :3]
    pictures = np.concatenate([_at_corner(column, len(column), PICTURE + GAP) for column in columns], axis=1)
    return np.concatenate([_at_corner(title, len(title), CELL), pictures[:, :CELL]])


def _column(image: np.ndarray, mask: np.ndarray | None, words: str, fill: Color) -> np.ndarray:
    """An overlay, drawn at the size it is shown in, with words below."""
    height, width = image.shape[:2]
    scale = min(PICTURE / width, HIGHEST / height)
    size = round(width * scale), round(height * scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    masks = np.zeros((0, *small.shape[:2]), bool)
    if mask is not None:
        masks = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR)[None] > 127
    label = panel(words, 15, PICTURE, fill)[..., :3]
    drawn = overlay(small, masks)
    return np.concatenate([_at_corner(drawn, len(drawn) + GAP, PICTURE), _at_corner(label, len(label), PICTURE)])


def _at_corner(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """`picture` in the upper left corner of a white page (height, width, 3)."""
    high, wide = picture.shape[:2]
    return np.pad(picture, ((0, height - high), (0, width - wide), (0, 0)), constant_values=255)


def draw_page(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Two cells a row: RGB uint8 (height, PAGE, 3)."""
    rows = []
    for pair in zip(cells[::2], cells[1::2], strict=True):
        height = max(map(len, pair)) + MARGIN
        rows.append(np.concatenate([_at_corner(cell, height, CELL + MARGIN) for cell in pair], axis=1))
    return np.pad(np.concatenate(rows), ((MARGIN, 0), (MARGIN, 0), (0, 0)), constant_values=255)


def credit_lines(heading: str, cases: Sequence[Case], credits: Mapping[str, Credit]) -> str:
    """A heading and a table of who the photos come from, one line each."""
    lines = [
        f"{heading}\n",
        "Photos are scaled down, with masks drawn over them; each remains under its own licence. COCO's files name no",
        "authors: the photo's page on Flickr does. Written by `tools/before_after.py`.\n",
        "| row | photo | licence | source |\n| --- | --- | --- | --- |",
    ]
    for at, case in enumerate(cases):
        credit = credits.get(case.photo, Credit(*CCP))
        place = f"{at // 2 + 1} {('left', 'right')[at % 2]}"
        lines.append(f"| {place} | {case.photo} | [{credit.licence}]({credit.terms}) | {_where(credit.source)} |")
    return "\n".join(lines) + "\n"


def _where(source: str) -> str:
    """An address; for a photo on Flickr's servers also that of its page, whose number begins the file's name."""
    if "staticflickr.com/" not in source:
        return f"<{source}>"
    return f"<https://www.flickr.com/photo.gne?id={source.rsplit('/', 1)[1].split('_')[0]}>, file <{source}>"


def record(case: Case, answers: Sequence[CasePrediction]) -> dict[str, object]:
    expression = case.expression
    entry = {"photo": case.photo, "task": case.sample.task.value, "kind": expression.kind, "text": expression.text,
             "area": round(expression.area, 4)}  # fmt: skip
    for name, answer in zip(("before", "after"), answers, strict=True):
        _, right, value = judge(answer.mask, expression.mask, case.other)
        entry[name] = {"no_target": answer.mask is None, "score": round(answer.score, 4), "right": right,
                       "iou": None if value is None else round(value, 4)}  # fmt: skip
    return entry


def write_sheet(
    folder: Path, name: str, cases: Sequence[Case], answers: Sequence[Sequence[CasePrediction]],
    credits: Mapping[str, Credit],
) -> list[dict[str, object]]:  # fmt: skip
    """Write the picture `name` and the table of its photos below `folder`; returns a record of each case."""
    folder.mkdir(parents=True, exist_ok=True)
    page = draw_page([draw_cell(case, pair) for case, pair in zip(cases, answers, strict=True)])
    Image.fromarray(page).save(folder / name, quality=85)
    heading, readme = f"## {name}", folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    section = credit_lines(heading, cases, credits)
    old = re.compile(rf"{re.escape(heading)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    replaced, count = old.subn(lambda _: f"{section}\n", text)
    text = replaced if count else f"{text.rstrip()}\n\n{section}".lstrip()
    readme.write_text(f"{text.rstrip()}\n", encoding="utf-8")
    return [record(case, pair) for case, pair in zip(cases, answers, strict=True)]


def describe(segmenter: Segmenter, name: str) -> dict[str, object]:
    folder = Path(find_checkpoint(name))
    return {"weights": hash_weights(folder), "score_threshold": segmenter.model.config.score_threshold}


def main() -> None:
    parser = make_parser(__doc__, data=True, recipe=True)
    parser.add_argument("--before", required=True, help="nano, or the folder of a model")
    parser.add_argument("--after", required=True, help="nano, or the folder of a model")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write pictures/ and results/ in")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [f"data.root={options.data}"]).data
    credits = coco_credits(recipe)
    cases = choose(validation_set(open_photos(recipe, validation=True), compose_config(recipe), seed=SEED), credits)
    _, held_out = open_held_out(options.recipe, options.data)
    coco = [row for source, rows in held_out.items() if source.startswith("coco ") for row in rows]
    pairs = choose_pairs((reader[index] for reader, index in coco), credits)
    models = [Segmenter.load(name, device="cpu") for name in (options.before, options.after)]
    facts = provenance(MODULE, options, seed=SEED, samples=len(cases) + len(pairs))
    facts["command"] = facts["command"].replace(f"--before {options.before}", "--before BEFORE")
    facts |= {"before": describe(models[0], options.before), "after": describe(models[1], options.after)}
    result = ResultFile(options.docs / "results" / "before_after.json", facts)
    for key, name, asked in ("cases", "before_after.jpg", cases), ("pairs", "pairs.jpg", pairs):
        predictions = [[predict(model, case) for model in models] for case in asked]
        result.update({key: write_sheet(options.docs / "pictures", name, asked, predictions, credits)})
    print((options.docs / "results" / "before_after.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
