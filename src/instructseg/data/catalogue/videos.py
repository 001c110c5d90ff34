"""Clip datasets of Tables 3 and 4, and three more: their sources and their layouts on disk.

Sources of the counts: Ref-YouTube-VOS, its paper (train, full-video expressions) and its challenge of 2021 (valid and
test); DAVIS, its papers; MeViS, its page, for the second release (the first has fewer expressions); JHMDB-Sentences,
MTTR's list. ReVOS published totals only: 1,042 clips and 35,074 expressions.
"""

from __future__ import annotations

from instructseg.data.catalogue.entry import Entry, opener_in_folder
from instructseg.data.readers.davis2016 import Davis2016
from instructseg.data.readers.jhmdb import JhmdbSentences
from instructseg.data.readers.mevis import MeVis
from instructseg.data.readers.ref_davis import RefDavis
from instructseg.data.readers.ref_youtube_vos import RefYoutubeVos
from instructseg.data.readers.revos import ReVos

ENTRIES = (
    Entry(
        name="ref_youtube_vos",
        title="Ref-YouTube-VOS: expressions about one object; the ground truth of valid and test is not public",
        where="https://youtube-vos.org/dataset/rvos/",
        licence="research; none stated for the expressions",
        layout={
            "ref_youtube_vos/meta_expressions/{split}/meta_expressions.json": "the expressions",
            "ref_youtube_vos/{split}/JPEGImages/*/*.jpg": "every fifth frame; test frames may be in the valid folder",
            "ref_youtube_vos/train/Annotations/*/*.png": "palette masks, for train only",
            "ref_youtube_vos/meta_expressions/test/meta_expressions.json": "the valid clips that belong to test",
        },
        counts={
            "train": {"clips": 3_471, "expressions": 12_913},
            "valid": {"clips": 202},
            "test": {"clips": 305},
        },
        open=opener_in_folder(
            RefYoutubeVos, "Ref-YouTube-VOS", "ref_youtube_vos", "ref-youtube-vos", "Ref-Youtube-VOS"
        ),
    ),
    Entry(
        name="ref_davis",
        title="Ref-DAVIS17: four expressions for each object of DAVIS 2017",
        where="https://davischallenge.org (unsupervised, 480p); expressions by Khoreva et al. from www.mpi-inf.mpg.de",
        licence="CC BY-NC 4.0 (DAVIS); none stated for the expressions",
        layout={
            "ref_davis/meta_expressions/{split}/meta_expressions.json": "the expressions, converted; or",
            "ref_davis/davis_text_annotations/*.txt": "as published: four files, with DAVIS/ beside them",
            "ref_davis/{split}/JPEGImages/*/*.jpg": "all frames at 480p (or DAVIS/JPEGImages/480p)",
            "ref_davis/{split}/Annotations/*/*.png": "palette masks (or DAVIS/Annotations_unsupervised/480p)",
        },
        counts={"train": {"clips": 60}, "valid": {"clips": 30}},
        open=opener_in_folder(RefDavis, "Ref-DAVIS17", "ref_davis", "ref-davis", "davis17"),
    ),
    Entry(
        name="revos",
        title="ReVOS: referring and reasoning instructions about clips, some without a target",
        where="https://github.com/cilinyan/ReVOS-api",
        licence="CC BY-NC-SA 4.0",
        layout={
            "revos/meta_expressions_{split}_.json": "the instructions",
            "revos/mask_dict.json": "masks of train and valid",
            "revos/mask_dict_foreground.json": "the union of all objects; without it the robustness score R is omitted",
            "revos/JPEGImages/*/*.jpg": "frames; the folder JPEGImages may be omitted",
        },
        counts={"train": {}, "valid": {}},
        open=opener_in_folder(ReVos, "ReVOS", "revos", "ReVOS"),
    ),
    Entry(
        name="mevis",
        title="MeViS: expressions about the motion of one or several objects; the ground truth of valid is not public",
        where="https://henghuiding.com/MeViS",
        licence="non-commercial research",
        layout={
            "mevis/{split}/meta_expressions.json": "the expressions",
            "mevis/{split}/JPEGImages/*/*.jpg": "all frames",
            "mevis/{split}/mask_dict.json": "masks, for train and valid_u only",
        },
        counts={
            "train": {"clips": 1_662, "expressions": 27_502},
            "valid_u": {"clips": 50, "expressions": 907},
            "valid": {"clips": 140, "expressions": 2_523},
        },
        open=opener_in_folder(MeVis, "MeViS", "mevis", "MeViS"),
    ),
    Entry(
        name="davis2016",
        title="DAVIS 2016: one object per clip, with instructions of your own",
        where="https://davischallenge.org (480p), and a meta_expressions*.json of your own",
        licence="CC BY-NC 4.0",
        layout={
            "davis2016/meta_expressions*.json": "the instructions, in one file",
            "davis2016/JPEGImages/*/*/*.jpg": "frames in 480p/ or 240p/",
            "davis2016/Annotations/480p/*/*.png": "masks, one per frame",
        },
        counts={"val": {"clips": 20}, "train": {"clips": 30}},
        open=opener_in_folder(Davis2016, "DAVIS 2016", "davis2016", "DAVIS"),
    ),
    Entry(
        name="jhmdb_sentences",
        title="JHMDB-Sentences: one expression about the person of each clip, for evaluation only",
        where="https://kgavrilyuk.github.io/publication/actor_action/; list of frames from github.com/mttr2021/MTTR",
        licence="none stated (research)",
        layout={
            "jhmdb_sentences/jhmdb_sentences_samples_metadata.json": "expressions and three labelled frames per clip",
            "jhmdb_sentences/Rename_Images/*/*/*.png": "all frames",
            "jhmdb_sentences/puppet_mask/*/*/puppet_mask.mat": "masks",
        },
        counts={"test": {"clips": 928, "expressions": 928}},
        open=opener_in_folder(JhmdbSentences, "JHMDB-Sentences", "jhmdb_sentences"),
    ),
)
