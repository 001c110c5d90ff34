"""The JSON files that list a dataset's clips, in Ref-YouTube-VOS's layout and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from instructseg.data.readers.base import parsing
from instructseg.data.readers.files import read_json
from instructseg.errors import DataError
from instructseg.types import Expression

Masks = Sequence[Any] | None


@dataclass(frozen=True)
class ClipRecord:
    """The entry of one clip: its name, the names of its frames, and its expressions without masks.

    `details["objects"]` of an expression are the ids of its target objects, as text.
    """

    name: str
    frames: tuple[str, ...]
    expressions: tuple[Expression, ...]

    def with_masks(self, masks_of: Callable[[Expression], Masks]) -> tuple[Expression, ...]:
        """The expressions, each with its masks over the clip."""
        return tuple(replace(expression, masks=masks_of(expression)) for expression in self.expressions)


def load_videos(path: Path) -> dict[str, Any]:
    """The non-empty mapping under "videos". Raises DataError."""
    content = read_json(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise DataError(f'{path} has no clips: expected a JSON object {{"videos": {{name: ...}}}}')
    return videos


def parse_clips(path: Path, videos: Mapping[str, Any], kind: str = "human") -> list[ClipRecord]:
    """Clips whose "expressions" map ids to {"exp", "obj_id" or "anno_id"}: the layout of 2021 and later.

    `kind` becomes the kind of every expression. Raises DataError naming the invalid clip.
    """
    clips = []
    for name, video in videos.items():
        with parsing(path, f"clip {name}"):
            frames = frame_names(video["frames"])
            expressions = [_expression(key, entry, kind) for key, entry in video["expressions"].items()]
            if not expressions:
                raise ValueError("no expressions")
        clips.append(ClipRecord(checked_name(path, name), frames, tuple(expressions)))
    return clips


def _expression(key: str, entry: Mapping[str, Any], kind: str) -> Expression:
    return Expression(clean(entry["exp"]), None, kind, key, details={"objects": ids(entry.get("obj_id"))})


def ids(value: Any) -> list[str]:
    """Ids as text: one, several, or none (no public ground truth, or an expression without a target)."""
    if value is None:
        return []
    return [str(item) for item in (value if isinstance(value, list) else [value])]


def clean(text: str) -> str:
    """An instruction on one line with single spaces. Raises ValueError if it is empty."""
    words = text.split()
    if not words:
        raise ValueError("the expression is empty")
    return " ".join(words)


def frame_names(names: Sequence[str]) -> tuple[str, ...]:
    """Frame names in the order of the file, which is also that of the run-length codes.

    Raises ValueError for an empty list, for a repeated name, and for a name that is not a plain file name.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError(f"expected unique frame names, got {len(names)} frames with {len(set(names))} unique names")
    if any(not isinstance(name, str) or PurePosixPath(name).name != name for name in names):
        raise ValueError("expected frame names that are plain file names")
    return tuple(names)


def checked_name(path: Path, name: str) -> str:
    """A clip's name. Raises DataError for a name that points outside the dataset's folder."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise DataError(f"{path}: expected a clip name that is a path inside the dataset, got {name!r}")
    return name
