"""Your own data: find out the form of a file or folder, choose its reader, and report all that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from instructseg.data.check import examine
from instructseg.data.problems import Problems
from instructseg.data.readers.coco_file import read_coco
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.files import read_json
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.labelme_file import is_labelme
from instructseg.data.readers.paths import PHOTO_SUFFIXES, FolderListing, files_of
from instructseg.data.readers.prepared import Prepared
from instructseg.data.readers.tables import TABLES, find_tables
from instructseg.data.readers.yolo import YoloPhotos, has_yolo_labels
from instructseg.errors import DataError, InstructSegError
from instructseg.types import InstancePhoto, Sample

_FIRST_PHOTOS = 100  # entries of a COCO file by which the folder of its photos is found


class Form(Enum):
    """The forms of your own data."""

    COCO = "a COCO instances file"
    LABELME = "a LabelMe folder"
    YOLO = "a YOLO-segmentation folder"
    TABLE = "a folder with a table of photos, masks and sentences"
    TRIPLES = "a folder of photos, masks and sentences"
    PREPARED = "a folder written by `instructseg data prepare`"


class OwnReader(Protocol):
    """A reader of own data."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample | InstancePhoto: ...

    def photo_id(self, index: int, /) -> str: ...


@dataclass(frozen=True)
class OwnDataReport:
    """What `check_own_data` found."""

    form: Form
    photos: int
    """Number of readable photos."""
    names: Mapping[str, int]
    """Name or kind of sentence -> number of objects or sentences, the most frequent first."""
    problems: Problems
    """Everything that is left out."""


def find_form(path: Path) -> Form:
    """The form of the data at `path`, a file or a folder. Raises DataError if it has none or more than one."""
    try:
        is_file = path.is_file()
    except OSError as error:  # e.g. a name that is too long
        raise DataError(f"{path!s:.80} cannot be opened ({error.strerror}); check the path") from error
    if is_file:
        return _form_of_file(path)
    if not path.is_dir():
        raise DataError(f"{path} does not exist; check the path")
    if next(path.glob("*.prepared"), None):
        return Form.PREPARED
    if find_tables(path):
        return Form.TABLE
    labelme, coco = _json_files(path)
    is_yolo = has_yolo_labels(path)
    triples = not is_yolo and _has_triples(path)
    if labelme and triples:
        raise DataError(f"{path} has LabelMe files (such as {labelme.name}) and NAME.txt with sentences; keep one")
    if labelme or is_yolo or triples:
        return Form.LABELME if labelme else Form.YOLO if is_yolo else Form.TRIPLES
    if coco:
        raise DataError(f"{path} has a COCO file; pass the file: {coco}")
    raise DataError(_none(path))


def check_own_data(path: Path, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> OwnDataReport:
    """Read every photo and mask of the data at `path`; `progress` wraps the indices.

    Raises DataError if nothing can be used.
    """
    form, names, photos = find_form(path), Counter[str](), 0
    problems = Problems()
    for reader in _readers(form, path):
        indices = readable(reader, problems, lambda item: names.update(_names(item)), progress)
        photos += len(indices)
    if not photos:
        raise problems.refuse(f"{path}: no photo is readable")
    return OwnDataReport(form, photos, dict(names.most_common()), problems)


def readable(
    reader: Sequence[Sample] | OwnReader,
    problems: Problems,
    use: Callable[[Sample | InstancePhoto], None] = lambda item: None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[int]:
    """The indices of the samples or photos that can be read.

    The others, and all that the reader leaves out, are added to `problems`. `use` is called with each readable item.
    """
    problems.extend(getattr(reader, "problems", Problems()))
    indices = []
    for index in progress(range(len(reader))):
        try:
            item = reader[index]
            if isinstance(item, Sample):
                examine(item)
        except InstructSegError as error:
            problems.add(photo_name(reader, index), error, "photo")
        else:
            use(item)
            indices.append(index)
    return indices


def photo_name(reader: object, index: int) -> str:
    """The id of a reader's photo, without decoding it."""
    photo_id = getattr(reader, "photo_id", None)
    return photo_id(index) if photo_id else f"sample {index}"


def find_photos(annotations: Path) -> Path:
    """The folder with a COCO file's photos: its own folder, or one below it or below its parent. Raises DataError."""
    photos = read_coco(annotations).photos[:_FIRST_PHOTOS]
    parent, listing = annotations.absolute().parent, FolderListing()
    split = annotations.stem.removeprefix("instances_")
    folders = [parent, *(base / child for base in (parent, parent.parent) for child in ("images", split, "photos"))]
    found = {folder: sum(_has(listing, folder, photo.file_name) for photo in photos) for folder in folders}
    best = max(folders, key=lambda folder: found[folder])
    if found[best]:
        return best
    raise DataError(
        f"{photos[0].file_name}, the first photo of {annotations}, is in none of {', '.join(map(str, folders))}; "
        f"set its folder with 'data.coco=[{{annotations: {annotations}, images: FOLDER}}]'"
    )


def _has(listing: FolderListing, folder: Path, name: str) -> bool:
    try:
        return listing.find(folder, name) is not None
    except DataError:  # the path leads outside the folder, which the reader reports
        return False


def _form_of_file(path: Path) -> Form:
    is_json = path.suffix.lower() == ".json"
    if is_json and not is_labelme(read_json(path)):
        return Form.COCO
    if is_json or path.name.lower() in TABLES or path.suffix.lower() in (".yaml", ".yml", ".txt"):
        raise DataError(f"{path} is one file of a folder of data; pass the folder: {path.parent}")
    raise DataError(_none(path))


def _none(path: Path) -> str:
    return (
        f"{path}: expected a COCO instances file (.json), a folder of photos with LabelMe files or YOLO-segmentation "
        f"labels, a folder with {' or '.join(TABLES)} or NAME.jpg + NAME.png + NAME.txt, or a prepared folder; "
        "got none of these"
    )


def _json_files(folder: Path) -> tuple[Path | None, Path | None]:
    """The first LabelMe file and the first COCO file of a folder."""
    labelme = coco = None
    for path in files_of(folder, ".json"):
        try:
            content = None if labelme else read_json(path)
        except DataError:
            continue  # the reader reports it
        if is_labelme(content):
            labelme = path
        elif isinstance(content, dict) and {"images", "annotations"} <= set(content):
            coco = coco or path
    return labelme, coco


def _has_triples(folder: Path) -> bool:
    """Whether a text file lies beside a photo of its name."""
    listing = FolderListing()
    return any(listing.beside(path, PHOTO_SUFFIXES) for path in files_of(folder, ".txt"))


def _readers(form: Form, path: Path) -> Iterator[OwnReader | Sequence[Sample]]:
    match form:
        case Form.COCO:
            yield CocoInstances(path, find_photos(path))
        case Form.LABELME:
            yield LabelMePhotos(path)
        case Form.YOLO:
            yield YoloPhotos(path)
        case Form.PREPARED:
            yield from (Prepared(path, file.stem) for file in sorted(path.glob("*.prepared")))
        case _:
            yield MaskFolder(path)


def _names(item: Sample | InstancePhoto) -> list[str]:
    """The names of a photo's objects, or the kinds of its sentences."""
    if isinstance(item, InstancePhoto):
        return [instance.name for instance in item.instances]
    return [expression.kind for expression in item.expressions]
