"""Small clips on disk, in the exact layouts of the video datasets; for the tests of their readers."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from instructseg.media.masks import voc_colormap

SIZE = (24, 32)


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_frames(folder: Path, names: list[str], suffix: str = ".jpg", size: tuple[int, int] = SIZE) -> None:
    """Frames of one gray each, 10 times their place."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.fromarray(np.full((*size, 3), 10 * place, np.uint8)).save(folder / f"{name}{suffix}", quality=95)


def write_labels(path: Path, labels: np.ndarray) -> None:
    """A palette PNG as DAVIS and YouTube-VOS have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("P", labels.shape[::-1], labels.astype(np.uint8).tobytes())
    picture.putpalette(voc_colormap().tobytes())
    picture.save(path)


def label_maps(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Object 1 moves right and leaves before the last frame; object 2 enters in the second one and stays."""
    maps = []
    for place in range(count):
        labels = np.zeros(size, np.uint8)
        if place < count - 1:
            labels[2:8, 2 + 2 * place : 10 + 2 * place] = 1
        if place > 0:
            labels[12:20, 5:25] = 2
        maps.append(labels)
    return maps


def rle(mask: np.ndarray) -> dict:
    """Uncompressed COCO RLE, counted pixel by pixel down the columns: a slow, obvious writer."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return {"size": list(mask.shape), "counts": runs}
