"""Cases about clips; their strategies belong to the tests, which make clips of every format."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz.cases import Case
from benchmarks.harness import ROOT
from instructseg.errors import InputError
from instructseg.inference.video.options import VideoOptions
from instructseg.media.sources import identify
from instructseg.media.video import open_clip

MAX_FRAMES = 128


def clip_cases() -> dict[str, Case]:
    """Damaged clips of sixteen formats, and Python values as options."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from clip_strategies import damaged_clips, values  # pyright: ignore[reportMissingImports]
    from hypothesis import strategies as st

    folder = Path(tempfile.mkdtemp(prefix="instructseg_fuzz_clips_"))
    names = st.sampled_from(["every", "start", "end", "rate", "linking", "max_side", "cache_bytes", "exclusive"])
    return {
        "clip": Case(damaged_clips(), lambda clip: _read(folder, *clip), (InputError,)),
        "clip options": Case(
            st.dictionaries(names, values(), max_size=3),
            lambda changes: VideoOptions.create(None, changes),
            (InputError,),
        ),
    }


def _read(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.write_bytes(data)
    identify(path)
    for count, frame in enumerate(open_clip(path)):
        assert frame.image.ndim == 3 and frame.image.size
        if count == MAX_FRAMES:  # damaged headers may repeat frames
            break
