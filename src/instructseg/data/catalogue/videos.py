"""Clip datasets of Tables 3 and 4, and three beside them: where they come from and how they lie on disk.

Counts: Ref-YouTube-VOS's from its paper (train, full-video sentences) and its challenge of 2021 (valid and test);
DAVIS's from its papers; MeViS's from its page, for the second release (the first has fewer expressions);
JHMDB-Sentences' from MTTR's list itself. ReVOS published totals alone: 1,042 clips and 35,074 expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.catalogue.entry import Entry
from instructseg.data.readers.davis2016 import Davis2016
from instructseg.data.readers.files import first_present
from instructseg.data.readers.jhmdb import JhmdbSentences
from instructseg.data.readers.mevis import MeVis
from instructseg.data.readers.ref_davis import RefDavis
from instructseg.data.readers.ref_youtube_vos import RefYoutubeVos
from instructseg.data.readers.revos import ReVos
from instructseg.types import Sample


def open_ref_youtube_vos(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    places = ("ref_youtube_vos", "ref-youtube-vos", "Ref-Youtube-VOS")
    return RefYoutubeVos(first_present(root, places, "Ref-YouTube-VOS"), split, **options)


def open_ref_davis(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return RefDavis(first_present(root, ("ref_davis", "ref-davis", "davis17"), "Ref-DAVIS17"), split, **options)


def open_davis2016(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return Davis2016(first_present(root, ("davis2016", "DAVIS"), "DAVIS 2016"), split, **options)


def open_revos(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return ReVos(first_present(root, ("revos", "ReVOS"), "ReVOS"), split, **options)


def open_mevis(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return MeVis(first_present(root, ("mevis", "MeViS"), "MeViS"), split, **options)


def open_jhmdb(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return JhmdbSentences(first_present(root, ("jhmdb_sentences",), "JHMDB-Sentences"), split, **options)


ENTRIES = (
    Entry(
        name="ref_youtube_vos",
        title="Ref-YouTube-VOS: sentences about one object of a clip; the truth of valid and test is on a server",
        where="https://youtube-vos.org/dataset/rvos/",
        licence="research; none stated for the expressions",
        layout={
            "ref_youtube_vos/meta_expressions/{split}/meta_expressions.json": "the expressions",
            "ref_youtube_vos/{split}/JPEGImages/*/*.jpg": "every fifth frame; those of test may lie with valid's",
            "ref_youtube_vos/train/Annotations/*/*.png": "palette masks, of train only",
            "ref_youtube_vos/meta_expressions/test/meta_expressions.json": "says which clips of valid's file are test",
        },
        counts={
            "train": {"clips": 3_471, "expressions": 12_913},
            "valid": {"clips": 202},
            "test": {"clips": 305},
        },
        open=open_ref_youtube_vos,
    ),
    Entry(
        name="ref_davis",
        title="Ref-DAVIS17: four sentences about each object of DAVIS 2017",
        where="https://davischallenge.org (unsupervised, 480p); sentences of Khoreva et al. from www.mpi-inf.mpg.de",
        licence="CC BY-NC 4.0 (DAVIS); none stated for the sentences",
        layout={
            "ref_davis/meta_expressions/{split}/meta_expressions.json": "the sentences, converted; or as published in",
            "ref_davis/davis_text_annotations/*.txt": "four files, which need DAVIS/ beside them",
            "ref_davis/{split}/JPEGImages/*/*.jpg": "all frames at 480p (or DAVIS/JPEGImages/480p)",
            "ref_davis/{split}/Annotations/*/*.png": "palette masks (or DAVIS/Annotations_unsupervised/480p)",
        },
        counts={"train": {"clips": 60}, "valid": {"clips": 30}},
        open=open_ref_davis,
    ),
    Entry(
        name="revos",
        title="ReVOS: referring and reasoning instructions about clips, some about nothing there",
        where="https://github.com/cilinyan/ReVOS-api",
        licence="CC BY-NC-SA 4.0",
        layout={
            "revos/meta_expressions_{split}_.json": "the instructions",
            "revos/mask_dict.json": "masks of train and valid",
            "revos/mask_dict_foreground.json": "all objects together, for robustness",
            "revos/JPEGImages/*/*.jpg": "frames; or without the folder JPEGImages",
        },
        counts={"train": {}, "valid": {}},
        open=open_revos,
    ),
    Entry(
        name="mevis",
        title="MeViS: expressions about the motion of one or several objects; the truth of valid is on a server",
        where="https://henghuiding.com/MeViS",
        licence="non-commercial research",
        layout={
            "mevis/{split}/meta_expressions.json": "the expressions",
            "mevis/{split}/JPEGImages/*/*.jpg": "all frames",
            "mevis/{split}/mask_dict.json": "masks, of train and valid_u only",
        },
        counts={
            "train": {"clips": 1_662, "expressions": 27_502},
            "valid_u": {"clips": 50, "expressions": 907},
            "valid": {"clips": 140, "expressions": 2_523},
        },
        open=open_mevis,
    ),
    Entry(
        name="davis2016",
        title="DAVIS 2016: one object a clip, with instructions of your own",
        where="https://davischallenge.org (480p), and a meta_expressions*.json that you write",
        licence="CC BY-NC 4.0",
        layout={
            "davis2016/meta_expressions*.json": "the instructions, one file",
            "davis2016/JPEGImages/*/*/*.jpg": "frames in 480p/ or 240p/",
            "davis2016/Annotations/480p/*/*.png": "masks, one for each frame",
        },
        counts={"val": {"clips": 20}, "train": {"clips": 30}},
        open=open_davis2016,
    ),
    Entry(
        name="jhmdb_sentences",
        title="JHMDB-Sentences: a sentence about the person of a clip, for evaluation only",
        where="https://kgavrilyuk.github.io/publication/actor_action/; list of frames from github.com/mttr2021/MTTR",
        licence="none stated (research)",
        layout={
            "jhmdb_sentences/jhmdb_sentences_samples_metadata.json": "the sentences and three labelled frames a clip",
            "jhmdb_sentences/Rename_Images/*/*/*.png": "all frames",
            "jhmdb_sentences/puppet_mask/*/*/puppet_mask.mat": "masks",
        },
        counts={"test": {"clips": 928, "expressions": 928}},
        open=open_jhmdb,
    ),
)
