"""DAVIS 2016 (Perazzi et al., CVPR 2016): one object per clip, with instructions from a JSON file of your own.

The masks have 480 rows, but the frames may be smaller copies. Masks keep their size because DAVIS scores predictions at
that size: resize the prediction to the mask, never the mask to the prediction.
"""

from __future__ import annotations

from pathlib import Path

from instructseg.data.readers.base import Reader, require_split
from instructseg.data.readers.clip_meta import ClipRecord, load_videos, parse_clips
from instructseg.data.readers.frames import LazyPictures, files_named, folder_names, read_binary
from instructseg.errors import DataError
from instructseg.types import Sample, Task

VAL = tuple(
    "blackswan bmx-trees breakdance camel car-roundabout car-shadow cows dance-twirl dog drift-chicane drift-straight "
    "goat horsejump-high kite-surf libby motocross-jump paragliding-launch parkour scooter-black soapbox".split()
)
"""The official validation sequences; all others are training sequences."""

_SPLITS = ("train", "val")
_FRAME_SIZES = ("480p", "240p")


class Davis2016(Reader[Sample]):
    """The sequences of a split that the expressions file names; ids `davis2016/SEQUENCE`, dataset "davis2016".

    The expressions file is the only meta_expressions*.json in `root`, in Ref-YouTube-VOS's layout of 2021. Frames are
    in JPEGImages/480p if all these sequences are there, otherwise in JPEGImages/240p (see `frame_size`). Masks are
    always in Annotations/480p, one per frame.

    root: the dataset's folder.
    split: "val" (the 20 official sequences) or "train" (all others).
    """

    def __init__(self, root: str | Path, split: str = "val") -> None:
        require_split("DAVIS 2016", split, _SPLITS)
        self.root = Path(root)
        self.listing = _listing(self.root)
        clips = parse_clips(self.listing, load_videos(self.listing))
        self._clips = [clip for clip in clips if (clip.name in VAL) == (split == "val")]
        if not self._clips:
            raise DataError(f"{self.listing} has no expressions for any {split} sequence of DAVIS 2016")
        self.frame_size = self._frame_size()

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        clip = self._clips[index]
        folder = self.root / "JPEGImages" / self.frame_size / clip.name
        frames = LazyPictures(files_named(folder, clip.frames, ".jpg", self.listing))
        masks = self._masks(clip)
        expressions = clip.with_masks(lambda _: masks)
        return Sample(
            f"davis2016/{clip.name}", Task.RVOS, frames, expressions, frame_names=clip.frames, dataset="davis2016"
        )

    def _masks(self, clip: ClipRecord) -> LazyPictures:
        folder = self.root / "Annotations" / "480p" / clip.name
        paths = files_named(folder, clip.frames, ".png", self.listing)
        count = sum(name.endswith(".png") for name in folder_names(folder, self.listing))
        if count != len(clip.frames):
            raise DataError(
                f"{folder} has {count} masks, but {self.listing} lists {len(clip.frames)} frames of {clip.name}; "
                "DAVIS scores every frame, so each frame needs a mask"
            )
        return LazyPictures(paths, read_binary)

    def _frame_size(self) -> str:
        for size in _FRAME_SIZES:
            if all((self.root / "JPEGImages" / size / clip.name).is_dir() for clip in self._clips):
                return size
        largest = self.root / "JPEGImages" / _FRAME_SIZES[0]
        missing = [clip.name for clip in self._clips if not (largest / clip.name).is_dir()]
        raise DataError(
            f"{largest / missing[0]} is missing ({len(missing)} of {len(self._clips)} sequences); unpack DAVIS there"
        )


def _listing(root: Path) -> Path:
    files = sorted(root.glob("meta_expressions*.json"))
    if len(files) != 1:
        raise DataError(
            f"expected one file meta_expressions*.json in {root}, got {len(files)}: DAVIS 2016 has no instructions of "
            'its own; write {"videos": {"bear": {"frames": ["00000", ...], "expressions": {"0": {"exp": "the bear"}}}}}'
        )
    return files[0]
