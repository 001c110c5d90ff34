"""Conversations and question-answering benchmarks (Table 5): their sources and their layouts on disk.

The layout follows LLaVA's playground/data/eval, whose prompts and protocols the paper's Table 5 uses; COCO's photos are
shared in coco/. Sources of the counts: VQAv2, visualqa.org/download; GQA, its testdev_balanced file; POPE, the files of
commit e3e3926, which LLaVA uses (later versions have 3,000 random questions); ScienceQA, pid_splits.json; MMBench, its
README; LLaVA's mixture, its dataset card on huggingface.co.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.catalogue.entry import Entry
from instructseg.data.readers.conversations import Conversations
from instructseg.data.readers.files import first_present
from instructseg.data.readers.gqa import Gqa
from instructseg.data.readers.mmbench import MmBench
from instructseg.data.readers.pope import CATEGORIES, Pope
from instructseg.data.readers.science_qa import ScienceQa
from instructseg.data.readers.vqav2 import VqaV2
from instructseg.errors import DataError
from instructseg.types import Sample

# Versions of MMBench's files for each split; LLaVA-1.5 reports the first.
MMBENCH_VERSIONS = {
    "dev": ("dev_20230712", "dev_en_20231003"),
    "test": ("test_20230712", "test_en_20231003"),
    "dev_cn": ("dev_cn_20231003",),
    "test_cn": ("test_cn_20231003",),
}


def open_conversations(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    # The mixture has paths below the root (coco/train2017/...); the 150k files have file names only.
    return Conversations(root / "llava_dataset" / f"{split}.json", root, root / "coco" / "train2017", **options)


def open_vqav2(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    folder, test = root / "vqav2", split.startswith("test")
    year = f"{split}{2015 if test else 2014}"
    annotations = None if test else folder / f"v2_mscoco_{year}_annotations.json"
    photos = root / "coco" / ("test2015" if test else year)
    return VqaV2(folder / f"v2_OpenEnded_mscoco_{year}_questions.json", photos, annotations, **options)


def open_gqa(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    candidates = (f"gqa/{split}_questions.json", f"gqa/llava_gqa_{split}.jsonl")
    return Gqa(first_present(root, candidates, f"GQA's questions of {split}"), root / "gqa" / "images", **options)


def open_pope(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    folders = sorted({path.parent for path in (root / "pope").glob("coco*/coco_pope_*.json")})
    if len(folders) != 1:
        raise DataError(
            f"expected one folder with coco_pope_*.json in {root / 'pope'}, got {len(folders)}; "
            "put POPE's output/coco there"
        )
    categories = CATEGORIES if split == "coco" else (split,)
    return Pope(folders[0], root / "coco" / "val2014", categories, **options)


def open_science_qa(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    candidates = ("scienceqa/problems.json", f"scienceqa/llava_{split}_CQM-A.json")
    file, folder = first_present(root, candidates, f"ScienceQA's problems of {split}"), root / "scienceqa"
    pids = folder / "pid_splits.json" if file.name == "problems.json" else None
    return ScienceQa(file, folder / "images", split, pids, **options)


def open_mmbench(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    candidates = (f"mmbench/mmbench_{version}.tsv" for version in MMBENCH_VERSIONS.get(split, (split,)))
    return MmBench(first_present(root, candidates, f"MMBench's table of {split}"), **options)


ENTRIES = (
    Entry(
        name="llava_instruct",
        title="LLaVA-Instruct: conversations about photos, written by GPT-4; the splits are file names",
        where="https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K; photos at the paths in its files",
        licence="CC BY 4.0, OpenAI's terms of use for the text; photos by their own licences",
        layout={
            "llava_dataset/{split}.json": "the conversations",
            "coco/train2017/*.jpg": "COCO photos; the mixture also needs gqa/, ocr_vqa/, textvqa/ and vg/",
        },
        counts={
            "llava_instruct_150k": {},
            "llava_v1_5_mix665k": {"samples": 665_298},
            "llava_v1_5_mix665k_onlyMM_filtered": {},
        },
        open=open_conversations,
    ),
    Entry(
        name="vqav2",
        title="VQAv2: questions about COCO photos with ten answers each",
        where="https://visualqa.org/download.html; the test splits are scored by https://eval.ai (challenge 830)",
        licence="CC BY 4.0 (questions and answers); COCO photos: Flickr, per photo",
        layout={
            "vqav2/v2_OpenEnded_mscoco_{split}*_questions.json": "the questions; for train and val with the answers "
            "beside them, v2_mscoco_{split}2014_annotations.json",
            "coco/*/COCO_*.jpg": "COCO 2014 photos of the split; test2015 for both test splits",
        },
        counts={
            "train": {"expressions": 443_757},
            "val": {"expressions": 214_354},
            "test": {"expressions": 447_793},
            "test-dev": {},
        },
        open=open_vqav2,
    ),
    Entry(
        name="gqa",
        title="GQA: compositional questions about Visual Genome photos",
        where="https://cs.stanford.edu/people/dorarad/gqa/download.html",
        licence="CC BY 4.0",
        layout={
            "gqa/*{split}*.json*": "the questions; or LLaVA's llava_gqa_{split}.jsonl, which has no answers",
            "gqa/images/*.jpg": "the photos",
        },
        counts={
            "testdev_balanced": {"expressions": 12_578, "samples": 398},
            "val_balanced": {},
            "train_balanced": {},
        },
        open=open_gqa,
    ),
    Entry(
        name="pope",
        title="POPE: is there such an object in the photo? The splits differ in the choice of absent objects",
        where="https://github.com/AoiDragon/POPE, folder output/coco at commit e3e3926",
        licence="MIT; COCO photos: Flickr, per photo",
        layout={
            "pope/coco*/coco_pope_*.json": "questions and labels of adversarial, popular and random",
            "coco/val2014/COCO_val2014_*.jpg": "COCO val2014 photos",
        },
        counts={
            "coco": {"expressions": 8_910, "samples": 500},
            "adversarial": {"expressions": 3_000, "samples": 500},
            "popular": {"expressions": 3_000, "samples": 500},
            "random": {"expressions": 2_910, "samples": 500},
        },
        open=open_pope,
    ),
    Entry(
        name="science_qa",
        title="ScienceQA: school questions with choices. Options: images_only (only those with a picture, about half)",
        where="https://github.com/lupantech/ScienceQA (data/scienceqa and tools/download.sh); LLaVA's eval.zip",
        licence="CC BY-NC-SA 4.0",
        layout={
            "scienceqa/*.json": "problems.json and pid_splits.json, or LLaVA's llava_{split}_CQM-A.json",
            "scienceqa/images/{split}/*/image.png": "the pictures",
        },
        counts={
            "test": {"expressions": 4_241, "samples": 4_241},
            "val": {"expressions": 4_241, "samples": 4_241},
            "train": {"expressions": 12_726, "samples": 12_726},
        },
        open=open_science_qa,
    ),
    Entry(
        name="mmbench",
        title="MMBench: questions with choices about 20 abilities; one expression per pass of the circular evaluation",
        where="https://github.com/open-compass/MMBench; answers to test are not public",
        licence="Apache-2.0",
        layout={"mmbench/mmbench_{split}*.tsv": "questions and pictures; LLaVA-1.5 reports dev_20230712"},
        counts={
            "dev": {"samples": 1_164},
            "test": {"samples": 1_784},
            "dev_cn": {"samples": 1_164},
            "test_cn": {"samples": 1_784},
        },
        open=open_mmbench,
    ),
)
