"""Photo datasets of Table 2, COCO captions, and your own photos: their sources and their layouts on disk.

Sources of the counts. RefCOCO/+/g: samples and photos from the tensorflow_datasets card (ref_coco); expressions from
the papers that introduced the splits (Yu et al., ECCV 2016; Mao et al., CVPR 2016; Nagaraja et al., ECCV 2016), whose
totals they match. ReasonSeg: LISA's README. COCO: its caption files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.catalogue.entry import Entry
from instructseg.data.readers.coco_captions import CocoCaptions
from instructseg.data.readers.files import first_present
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.labelme import LabelMe
from instructseg.data.readers.prepared import Prepared
from instructseg.data.readers.reason_seg import ReasonSeg
from instructseg.data.readers.refcoco import RefCoco
from instructseg.data.readers.yolo import Yolo
from instructseg.data.templated import coco_templates
from instructseg.errors import DataError
from instructseg.types import Sample

# Known locations of COCO's photos relative to the root: the layout of this package and the released code, that of the
# original REFER tools, and that of LISA.
_COCO_LOCATIONS = ("coco", "", "images", "images/mscoco/images", "refer_seg/images/mscoco/images", "../coco", "..")
_COCO_FOLDERS = ("train2014", "train2017", "val2017")


def coco_folders(root: Path) -> list[Path]:
    """The existing folders below `root` that may contain photos of COCO train2014. Raises DataError if none exists."""
    folders = [root / location / folder for folder in _COCO_FOLDERS for location in _COCO_LOCATIONS]
    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        raise DataError(f"COCO's photos not found: expected {root / 'coco' / 'train2014'}")
    return present


def open_refcoco(root: Path, split: str, name: str, partition: str, **options: Any) -> Sequence[Sample]:
    """Open the original files if they exist, otherwise the released code's JSON.

    `root` may be the dataset's own folder.
    """
    folder = name.removesuffix("_google")
    prefixes = [f"{folder}/", f"RES/{folder}/", f"refer_seg/{folder}/"] + [""] * (root.resolve().name == folder)
    files = [f"refs({partition}).p"] + [f"{folder}_{split}.json", f"{split}_psalm.json"] * (folder == name)
    candidates = (prefix + file for file in files for prefix in prefixes)
    return RefCoco(
        first_present(root, candidates, f"{folder}'s references"), coco_folders(root), split, name, **options
    )


def open_reason_seg(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    candidates = (f"ReasonSeg/{split}", f"reason_seg/ReasonSeg/{split}", f"reason_seg/{split}", split)
    return ReasonSeg(first_present(root, candidates, f"ReasonSeg's {split}").parent, split, **options)


def _coco(root: Path, split: str, kind: str) -> tuple[Path, Path]:
    """The annotation file of one split and the folder of its photos."""
    candidates = (f"{prefix}annotations/{kind}_{split}.json" for prefix in ("coco/", ""))
    file = first_present(root, candidates, f"COCO's {kind} of {split}")
    return file, file.parent.parent / split


def open_captions(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return CocoCaptions(*_coco(root, split, "captions"), **options)


def open_templates(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return coco_templates(*_coco(root, split, "instances"), **options)


def open_labelme(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return LabelMe(root if split == "all" else root / split, **options)


def open_yolo(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return Yolo(root if split == "all" else root / split, **options)


def open_folder(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return MaskFolder(root if split == "all" else root / split, **options)


def open_prepared(root: Path, split: str, **options: Any) -> Sequence[Sample]:
    return Prepared(root, split, **options)


def _refcoco_entry(name: str, title: str, partition: str, counts: Mapping[str, tuple[int, int, int]]) -> Entry:
    """Entry of one RefCOCO dataset; `counts` maps each split to (objects, expressions, photos)."""
    folder = name.removesuffix("_google")

    def opened(root: Path, split: str, **options: Any) -> Sequence[Sample]:
        return open_refcoco(root, split, name, partition, **options)

    return Entry(
        name=name,
        title=f"{title}; one sample per object. Options: joined, released_masks",
        where=f"https://github.com/lichengunc/refer ({folder}.zip; copies at web.archive.org); COCO train2014",
        licence="research; annotations Apache-2.0 as their tools; COCO photos: Flickr, per photo",
        layout={
            f"{folder}/refs({partition}).p": f"objects and expressions; or the released code's {folder}_SPLIT.json",
            f"{folder}/instances.json": "masks, for the original format",
            "coco/train2014/*.jpg": "photos; the COCO 2017 folders contain the same photos under shorter names",
        },
        counts={
            split: {"samples": objects, "expressions": expressions, "photos": photos}
            for split, (objects, expressions, photos) in counts.items()
        },
        open=opened,
    )


ENTRIES = (
    _refcoco_entry(
        "refcoco",
        "RefCOCO: short expressions from a game, UNC split",
        "unc",
        {
            "train": (42_404, 120_624, 16_994),
            "val": (3_811, 10_834, 1_500),
            "testA": (1_975, 5_657, 750),
            "testB": (1_810, 5_095, 750),
        },
    ),
    _refcoco_entry(
        "refcoco+",
        "RefCOCO+: expressions from the same game, without location words, UNC split",
        "unc",
        {
            "train": (42_278, 120_191, 16_992),
            "val": (3_805, 10_758, 1_500),
            "testA": (1_975, 5_726, 750),
            "testB": (1_798, 4_889, 750),
        },
    ),
    _refcoco_entry(
        "refcocog",
        "RefCOCOg: longer expressions, UMD split",
        "umd",
        {"train": (42_226, 80_512, 21_899), "val": (2_573, 4_896, 1_300), "test": (5_023, 9_602, 2_600)},
    ),
    _refcoco_entry(
        "refcocog_google",
        "RefCOCOg: longer expressions, Google's split, in which splits share photos",
        "google",
        {"train": (44_822, 85_474, 24_698), "val": (5_000, 9_536, 4_650)},
    ),
    Entry(
        name="reason_seg",
        title="ReasonSeg: questions and phrases that need reasoning. Options: first_only, with_ignore",
        where="https://github.com/dvlab-research/LISA#dataset",
        licence="none stated (research)",
        layout={
            "ReasonSeg/{split}/*.json": "sentences and polygons",
            "ReasonSeg/{split}/*.jpg": "photos with the same names",
            "ReasonSeg/explanatory/train.json": "explanations, for training only",
        },
        counts={
            "train": {"samples": 239, "photos": 239},
            "val": {"samples": 200, "expressions": 200, "photos": 200},
            "test": {"samples": 779, "expressions": 779, "photos": 779},
        },
        open=open_reason_seg,
    ),
    Entry(
        name="coco_captions",
        title="COCO captions as conversations of one turn",
        where="https://cocodataset.org/#download",
        licence="CC BY 4.0 (annotations); photos: Flickr, per photo",
        layout={"coco/annotations/captions_{split}.json": "captions", "coco/{split}/*.jpg": "photos"},
        counts={
            "train2017": {"samples": 118_287, "expressions": 591_753},
            "val2017": {"samples": 5_000, "expressions": 25_014},
        },
        open=open_captions,
    ),
    Entry(
        name="coco_templates",
        title="COCO instances with expressions derived from their masks. Options: most (number of photos), seed",
        where="https://cocodataset.org/#download",
        licence="CC BY 4.0 (annotations); photos: Flickr, per photo",
        layout={"coco/annotations/instances_{split}.json": "masks", "coco/{split}/*.jpg": "photos"},
        counts={"train2017": {}, "val2017": {}},
        open=open_templates,
    ),
    Entry(
        name="labelme",
        title="your own photos, labelled with LabelMe; a split other than `all` is a subfolder",
        where="https://github.com/wkentaro/labelme",
        licence="yours",
        layout={"*.json": "one file beside each photo"},
        counts={"all": {}},
        open=open_labelme,
    ),
    Entry(
        name="yolo",
        title="your own photos with YOLO-segmentation labels; a split other than `all` is a subfolder",
        where="https://docs.ultralytics.com/datasets/segment",
        licence="yours",
        layout={"*": "photos, label files beside them or in labels/, and data.yaml or classes.txt"},
        counts={"all": {}},
        open=open_yolo,
    ),
    Entry(
        name="folder",
        title="your own photos, masks and sentences; a split other than `all` is a subfolder. Options: task",
        where="annotations.jsonl, annotations.csv or NAME.jpg + NAME.png + NAME.txt (see data/readers/folder.py)",
        licence="yours",
        layout={"*": "a table, or triples of photo, mask and text"},
        counts={"all": {}},
        open=open_folder,
    ),
    Entry(
        name="prepared",
        title="a dataset written by `instructseg data prepare`; the root is its DST, the splits are the prepared ones",
        where="instructseg data prepare NAME ROOT DST",
        licence="that of the prepared dataset",
        layout={"{split}.prepared": "a description of what was prepared", "data/*.parquet": "the samples"},
        counts={"train": {}, "val": {}},
        open=open_prepared,
    ),
)
