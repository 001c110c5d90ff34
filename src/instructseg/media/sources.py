"""Expand PHOTO as given on the command line (file, folder, pattern) into a list of files."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from instructseg.errors import InputError
from instructseg.media.files import abbreviate
from instructseg.media.outputs import CLIP_OVERLAY, MASK, OVERLAY

IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .tga".split()
)
VIDEO_EXTENSIONS = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .3gp .ogv .wmv .flv".split())
"""Extensions by which files are recognized as clips; `media.video.open_clip` reads all formats that FFmpeg knows."""


def expand_photos(source: str) -> list[Path]:
    """One file, the photos of a folder (not of its subfolders), or those that match a glob pattern ("**" is recursive).

    A single file may have any extension. For folders and patterns, files with an image extension are returned, sorted;
    hidden files and results of this package (.overlay.png, .mask.png) are skipped.
    Raises InputError when there is none.
    """
    if not source:
        raise InputError("expected the path of a photo, got an empty path; pass a photo, a folder, or a quoted pattern")
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return _only_photos(path.iterdir(), f"folder {source}")
        if path.exists():
            return [path]
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # name too long, ~ of an unknown user, NUL character
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{abbreviate(source)!r} cannot be read: {reason}; check the path") from error
    if not matches:
        problem = "matches no file" if glob.has_magic(source) else "does not exist"
        hint = f"pass a photo, a folder of photos, or a quoted pattern like 'photos/*.jpg'{_bracket_hint(source)}"
        raise InputError(f"{abbreviate(source)} {problem}; {hint}")
    return _only_photos(map(Path, matches), f"pattern {source}")


def _bracket_hint(source: str) -> str:
    """Explains [...]: an existing folder "we[i]rd" is not a pattern, but "we[i]rd/*.jpg" matches "weird/*.jpg"."""
    return " ([...] matches one of the characters in it; [[] matches a bracket)" if "[" in source else ""


def expand_clips(source: str) -> list[Path] | None:
    """The video files of a path or a glob pattern; None when the source is photos.

    An animated GIF is a clip. Raises InputError when a pattern for videos matches nothing.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() == ".gif" and path.is_file():
        return [path] if _is_animated(path) else None
    if path.suffix.lower() not in VIDEO_EXTENSIONS or path.is_dir():
        return None
    if path.exists() or not glob.has_magic(source):
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
    clips = [match for match in matches if match.is_file() and not match.name.endswith(CLIP_OVERLAY)]
    if not clips:
        raise InputError(f"{source} matches no video; pass a video file, or a quoted pattern like 'clips/*.mp4'")
    return clips


def _is_animated(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return getattr(picture, "is_animated", False)
    except Exception:  # damaged: `load_image` reports the problem
        return False


def _only_photos(paths: Iterable[Path], where: str) -> list[Path]:
    files = [path for path in paths if path.is_file()]
    photos = sorted(path for path in files if _is_photo(path.name))
    if not photos:
        known = " ".join(sorted(IMAGE_EXTENSIONS))
        raise InputError(f"{where} has {len(files)} files but no photo; supported extensions: {known}")
    return photos


def _is_photo(name: str) -> bool:
    name = name.lower()
    return Path(name).suffix in IMAGE_EXTENSIONS and not name.startswith(".") and not name.endswith((OVERLAY, MASK))
