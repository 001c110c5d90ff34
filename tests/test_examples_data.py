"""The example photos: each has a stated licence, an instruction and a mask that fits it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "examples"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PHOTOS = sorted(path.name for path in FOLDER.glob("*.jpg"))


@pytest.mark.parametrize("entry", EXPECTED, ids=lambda entry: f"{entry['photo']}: {entry['instruction']}")
def test_mask_fits_its_photo(entry):
    photo, mask = Image.open(FOLDER / entry["photo"]), Image.open(FOLDER / entry["mask"])
    assert photo.mode == "RGB" and max(photo.size) <= 640
    assert mask.mode == "L" and mask.size == photo.size
    pixels = np.asarray(mask)
    assert set(np.unique(pixels)) == {0, 255}
    assert 0.01 < (pixels == 255).mean() < 0.9


def test_every_file_is_used():
    assert {entry["photo"] for entry in EXPECTED} == set(PHOTOS)
    assert {entry["mask"] for entry in EXPECTED} == {path.name for path in FOLDER.glob("*.png")}


@pytest.mark.parametrize("photo", PHOTOS)
def test_readme_states_author_and_licence(photo):
    rows = re.findall(rf"^\| *`{re.escape(photo)}` *\|(.+)\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 1, f"examples/README.md needs one row for {photo} in the table of sources"
    _, author, licence, source = (cell.strip() for cell in rows[0].split("|"))
    assert author and source
    assert re.search("CC0|public domain", licence)


def test_readme_lists_every_instruction():
    text = (FOLDER / "README.md").read_text()
    missing = [entry for entry in EXPECTED if f"`{entry['mask']}` | {entry['instruction']} |" not in text]
    assert not missing
