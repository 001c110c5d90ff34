"""The JSON that names a dataset's clips, in the layouts that descend from Ref-YouTube-VOS's meta_expressions.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from instructseg.data.readers.files import read_json
from instructseg.errors import DataError
from instructseg.types import Expression

Masks = Sequence[Any] | None


@dataclass(frozen=True)
class Clip:
    """What a dataset's JSON says of one clip.

    The expressions have no masks yet; their `details["objects"]` are the ids of what they mean, as text.
    """

    name: str
    frames: tuple[str, ...]
    expressions: tuple[Expression, ...]

    def with_masks(self, masks_of: Callable[[Expression], Masks]) -> tuple[Expression, ...]:
        """The expressions, each with its masks over the clip."""
        return tuple(replace(each, masks=masks_of(each)) for each in self.expressions)


def load_videos(path: Path) -> dict[str, Any]:
    """The non-empty mapping under "videos". Raises DataError."""
    content = read_json(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise DataError(f'{path} has no clips: a JSON object {{"videos": {{name: ...}}}} was needed')
    return videos


@contextmanager
def describing(path: Path, where: str) -> Iterator[None]:
    """Whatever goes wrong inside, because the file says something else than expected, becomes a DataError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: {where} is not as the dataset describes it ({error!r})") from error


def parse_clips(path: Path, videos: Mapping[str, Any], kind: str = "human") -> list[Clip]:
    """Clips whose "expressions" map ids to {"exp", "obj_id" or "anno_id"}: the layout since 2021."""
    clips = []
    for name, video in videos.items():
        with describing(path, f"clip {name}"):
            frames = frame_names(video["frames"])
            expressions = [_expression(key, entry, kind) for key, entry in video["expressions"].items()]
            if not expressions:
                raise ValueError("no expressions")
        clips.append(Clip(checked_name(path, name), frames, tuple(expressions)))
    return clips


def _expression(key: str, entry: Mapping[str, Any], kind: str) -> Expression:
    return Expression(clean(entry["exp"]), None, kind, key, details={"objects": ids(entry.get("obj_id"))})


def ids(given: Any) -> list[str]:
    """Ids as text: one, several, or none (a hidden truth or an expression without a target)."""
    if given is None:
        return []
    return [str(each) for each in (given if isinstance(given, list) else [given])]


def clean(text: str) -> str:
    """An instruction on one line, single spaces. Raises ValueError when nothing is left."""
    words = text.split()
    if not words:
        raise ValueError("an empty expression")
    return " ".join(words)


def frame_names(names: Sequence[str]) -> tuple[str, ...]:
    """Frame names in the file's order, which run-length codes follow.

    Raises ValueError for none, for one that comes twice, or for one that is no plain file name.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} frames, {len(set(names))} of them different")
    if any(not isinstance(name, str) or PurePosixPath(name).name != name for name in names):
        raise ValueError("a frame's name is no file name")
    return tuple(names)


def checked_name(path: Path, name: str) -> str:
    """A clip's name; DataError for one that leads out of the dataset's folder."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise DataError(f"{path}: {name!r} is no clip's name; a path inside the dataset was needed")
    return name
