"""Decide what a source is: a photo, an animation, a video, a folder or pattern of these, or an address."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from instructseg.errors import InputError
from instructseg.media.containers import is_text, video_format
from instructseg.media.files import abbreviate, expand_user
from instructseg.media.outputs import CLIP_OVERLAY, MASK, OVERLAY

if TYPE_CHECKING:
    from PIL import Image

IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .tga".split()
)
VIDEO_EXTENSIONS = frozenset(
    ".mp4 .m4v .mov .qt .mkv .webm .avi .divx .mpg .mpeg .mpe .m1v .m2v .mpv .ts .mts .m2t .m2ts .mod .tod .trp .vob "
    ".dat .evo .3gp .3g2 .ogv .ogm .ogg .wmv .asf .flv .f4v .rm .rmvb .mxf .dv .wtv .nut .ivf .y4m .h261 .h263 .h264 "
    ".264 .avc .h265 .265 .hevc .h266 .266 .vvc .obu .mjpeg .mjpg .insv .lrv".split()
)
"""Extensions by which the clips of a folder or pattern are found; `identify` decides what a file is."""

_ANIMATED_FORMATS = {"GIF", "WEBP", "PNG", "AVIF", "FLI"}
_VIDEO_FORMATS = {"MPEG"}  # Pillow identifies it, but does not decode it
_MOTION_JPEG = {".mjpeg", ".mjpg"}
_TEXT_EXTENSIONS = {".ts", ".mts", ".mod", ".dat"}
"""Video extensions that text files have too, e.g. TypeScript."""

_STREAMS = {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "mms", "mmsh", "mmst"}
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):(//?|(?=[a-z]+/[a-z0-9.+-]+[;,]))", re.IGNORECASE)
"""A scheme of two letters or more (one is a drive) and a slash, which Path makes of two; or a MIME type ("data:")."""


class SourceKind(Enum):
    """What a file is, by its content."""

    PHOTO = "photo"
    ANIMATION = "animation"
    """An animated GIF, WebP, PNG or AVIF."""
    VIDEO = "video"
    UNKNOWN = "unknown"
    """Neither Pillow nor FFmpeg recognizes the file, and its extension is not that of a video."""

    @property
    def is_clip(self) -> bool:
        """Whether the file has frames: an animation or a video."""
        return self in (SourceKind.ANIMATION, SourceKind.VIDEO)


@dataclass(frozen=True)
class Sources:
    """The files that a source on the command line refers to; all are photos or all are clips."""

    paths: list[Path]
    are_clips: bool
    skipped: list[Path]
    """Clips beside the photos of a folder or pattern."""


def identify(path: Path) -> SourceKind:
    """What the file at `path` is, by its content; a damaged file is what its extension says."""
    if not path.is_file():
        return SourceKind.UNKNOWN
    suffix = path.suffix.lower()
    picture = None if suffix in _MOTION_JPEG else _identify_picture(path)
    if picture is not None:
        return picture
    if suffix in VIDEO_EXTENSIONS or video_format(path) is not None:
        return SourceKind.VIDEO
    return SourceKind.UNKNOWN


def refuse_address(source: str | os.PathLike) -> None:
    """Raises InputError when `source` is an address (https://, rtsp://, file://, data:) and not an existing file."""
    text = os.fsdecode(source)
    match = _ADDRESS.match(text)
    if match is None or _exists(text):
        return
    scheme, name = match[1].lower(), abbreviate(text)
    if scheme == "file":
        raise InputError(f"{name} is a file URL; pass the path without file://")
    if scheme in _STREAMS:
        raise InputError(
            f"{name} is a live stream ({scheme}), which is not supported; record it into a file, "
            "or pass its frames to Segmenter.open_video"
        )
    raise InputError(f"{name} is a URL, and nothing is downloaded; download it and pass the file")


def expand_sources(source: str, recursive: bool = False, exclude: Path | None = None) -> Sources:
    """The files of PHOTO: one file, those of a folder (not of its subfolders), or of a pattern ("**" is recursive).

    With `recursive`, folders include their subfolders, except the folder `exclude` and hidden ones. A single file may
    have any extension. In a folder or pattern, files with the extension of an image or video count;
    hidden files and results of this package are left out. If there are photos, the clips beside them are skipped.
    Raises InputError when there is none.
    """
    paths, where = _list_files(source)
    if where is None:
        return Sources(paths, identify(paths[0]).is_clip, [])
    if recursive:
        paths = find_files(source, IMAGE_EXTENSIONS | VIDEO_EXTENSIONS, exclude)
    files = [path for path in paths if path.is_file()]
    known = [(path, identify(path)) for path in sorted(files) if _is_visible(path.name) and not _is_script(path)]
    photos = [path for path, kind in known if not kind.is_clip]
    clips = [path for path, kind in known if kind.is_clip]
    if not known:
        raise InputError(_nothing_in(where, files))
    return Sources(photos, False, clips) if photos else Sources(clips, True, [])


def expand_photos(source: str) -> list[Path]:
    """Like `expand_sources`, but only by extension, and only photos: also the first frames of animations.

    Raises InputError when there is none.
    """
    paths, where = _list_files(source)
    if where is None:
        return paths
    files = [path for path in paths if path.is_file()]
    photos = sorted(path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS and _is_visible(path.name))
    if not photos:
        raise InputError(_nothing_in(where, files))
    return photos


def find_files(source: str, extensions: Collection[str], exclude: Path | None = None) -> Iterator[Path]:
    """The files of one path, a folder with its subfolders, or a pattern, ordered by name; nothing is opened.

    A single file may have any extension. In a folder or pattern, files with one of `extensions` count; hidden files and
    folders, results of this package, and the folder `exclude` are left out. Raises InputError if the source does not
    exist.
    """
    paths, where = _list_files(source)
    if where is None:
        yield from paths
        return
    roots = [expand_user(source)] if where.startswith("folder") else sorted(paths)
    hidden = None if exclude is None else os.path.abspath(exclude)
    for root in roots:
        for path in _walk(root, hidden):
            name = path.name.lower()
            if path.suffix.lower() in extensions and not _is_hidden_or_result(name) and not _is_script(path):
                yield path


def _walk(root: Path, exclude: str | None) -> Iterator[Path]:
    """The file `root`, or the files of a folder and its subfolders, ordered by name."""
    if not root.is_dir():
        yield root
        return
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(
            name for name in subfolders
            if not name.startswith(".") and os.path.abspath(os.path.join(folder, name)) != exclude
        )  # fmt: skip
        yield from (Path(folder, name) for name in sorted(names))


def _list_files(source: str) -> tuple[list[Path], str | None]:
    """The paths that `source` refers to, and the folder or pattern they are from (None: it is one path)."""
    if not source:
        raise InputError("expected the path of a photo, got an empty path; pass a photo, a folder, or a quoted pattern")
    refuse_address(source)
    try:
        path = expand_user(source)
        if path.is_dir():
            return list(path.iterdir()), f"folder {source}"
        if path.exists():
            return [path], None
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
    except (OSError, RuntimeError, ValueError) as error:  # name too long, ~ of an unknown user, NUL character
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{abbreviate(source)!r} cannot be read: {reason}; check the path") from error
    if not matches:
        kind = "video" if path.suffix.lower() in VIDEO_EXTENSIONS else "file"
        problem = f"matches no {kind}" if glob.has_magic(source) else "does not exist"
        hint = "pass a photo, a folder of photos, or a quoted pattern like 'photos/*.jpg'"
        raise InputError(f"{abbreviate(source)} {problem}; {hint}{_bracket_hint(source)}")
    return [Path(match) for match in matches], f"pattern {source}"


def _bracket_hint(source: str) -> str:
    """Explains [...]: an existing folder "we[i]rd" is not a pattern, but "we[i]rd/*.jpg" matches "weird/*.jpg"."""
    return " ([...] matches one of the characters in it; [[] matches a bracket)" if "[" in source else ""


def quiet_open(path: Path) -> Image.Image:
    """Open a picture with Pillow without its warning about large ones, for which `load_image` has a limit."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _identify_picture(path: Path) -> SourceKind | None:
    """PHOTO or ANIMATION if Pillow recognizes the file, from its header only."""
    try:
        with quiet_open(path) as picture:
            if picture.format in _VIDEO_FORMATS:
                return None
            is_animated = picture.format in _ANIMATED_FORMATS and getattr(picture, "is_animated", False)
            return SourceKind.ANIMATION if is_animated else SourceKind.PHOTO
    except Exception:  # on damaged files Pillow's plugins raise almost any exception; the reader reports the problem
        return None


def _is_visible(name: str) -> bool:
    """Whether a file of a folder can be a source: not hidden, no result, the extension of an image or video."""
    name = name.lower()
    return Path(name).suffix in IMAGE_EXTENSIONS | VIDEO_EXTENSIONS and not _is_hidden_or_result(name)


def _is_hidden_or_result(name: str) -> bool:
    return name.startswith(".") or name.endswith((OVERLAY, MASK, CLIP_OVERLAY))


def _is_script(path: Path) -> bool:
    return path.suffix.lower() in _TEXT_EXTENSIONS and is_text(path)


def _nothing_in(where: str, files: Iterable[Path]) -> str:
    files = list(files)
    clips = [path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS and _is_visible(path.name)]
    hint = f"; {clips[0].name} is a video: pass it itself" if clips else ""
    known = " ".join(sorted(IMAGE_EXTENSIONS))
    return f"{where} has {len(files)} files but no photo; supported extensions: {known}{hint}"


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
