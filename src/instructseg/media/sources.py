"""What a person types for PHOTO -> the list of files meant."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from instructseg.errors import InputError
from instructseg.media.names import brief

IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .tga".split()
)
VIDEO_EXTENSIONS = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .3gp .ogv .wmv .flv".split())
"""Files taken for clips by their name; `media.video.open_clip` itself reads whatever FFmpeg knows."""

_OWN_RESULTS = (".overlay.png", ".mask.png")
_OWN_CLIP = ".overlay.mp4"


def expand_photos(source: str) -> list[Path]:
    """One file, the photos in a folder (top level only), or the photos that match a glob pattern ("**" goes deep).

    A file named outright is taken whatever its extension. Folders and patterns are filtered by image extension,
    hidden files and results of this package (.overlay.png, .mask.png) are left out, and the list is sorted.
    Raises InputError when nothing is left.
    """
    if not source:
        raise InputError("the name of the photo is empty; give a photo, a folder of photos, or a quoted pattern")
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return _photos(path.iterdir(), f"folder {source}")
        if path.exists():
            return [path]
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # also a name too long, ~ of an unknown user, a zero byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{brief(source)!r} cannot be read: {reason}; check the path") from error
    if not matches:
        what = "matches no file" if glob.has_magic(source) else "does not exist"
        need = "give a photo, a folder of photos, or a quoted pattern like 'photos/*.jpg'"
        raise InputError(f"{brief(source)} {what}; {need}{_bracket_hint(source)}")
    return _photos(map(Path, matches), f"pattern {source}")


def _bracket_hint(source: str) -> str:
    """A folder named "we[i]rd" is no pattern, but "we[i]rd/*.jpg" is one and means "weird/*.jpg"."""
    return " ([...] in a pattern means one of these letters; [[] means a bracket)" if "[" in source else ""


def expand_clips(source: str) -> list[Path] | None:
    """The video files that a name or a glob pattern means; None when it means photos.

    A GIF is a clip when it moves. Raises InputError when a pattern for videos matches nothing.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() == ".gif" and path.is_file():
        return [path] if _moves(path) else None
    if path.suffix.lower() not in VIDEO_EXTENSIONS or path.is_dir():
        return None
    if path.exists() or not glob.has_magic(source):
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
    clips = [match for match in matches if match.is_file() and not match.name.endswith(_OWN_CLIP)]
    if not clips:
        raise InputError(f"{source} matches no video; give a file, or a quoted pattern like 'clips/*.mp4'")
    return clips


def _moves(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return getattr(picture, "is_animated", False)
    except Exception:  # damaged: reading it as a photo says what is wrong
        return False


def _photos(paths: Iterable[Path], where: str) -> list[Path]:
    files = [path for path in paths if path.is_file()]
    photos = sorted(path for path in files if _is_photo(path.name))
    if not photos:
        raise InputError(f"{where} has {len(files)} files but no photo; known extensions: {_known_extensions()}")
    return photos


def _is_photo(name: str) -> bool:
    name = name.lower()
    return Path(name).suffix in IMAGE_EXTENSIONS and not name.startswith(".") and not name.endswith(_OWN_RESULTS)


def _known_extensions() -> str:
    return " ".join(sorted(IMAGE_EXTENSIONS))
