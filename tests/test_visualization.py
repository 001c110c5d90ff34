"""Overlays and contact sheets."""

import cv2
import numpy as np
import pytest

from instructseg.errors import InputError
from instructseg.visualization import PALETTE, color_of, contact_sheet, overlay


def photo(height: int = 300, width: int = 400) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def disks(count: int = 1, height: int = 300, width: int = 400) -> np.ndarray:
    y, x = np.indices((height, width))
    centers = np.linspace(0.2, 0.8, count) * width if count > 1 else [width / 2]
    radius = 0.12 * min(height, width)
    return np.stack([(x - center) ** 2 + (y - height / 2) ** 2 < radius**2 for center in centers])


def near(mask: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)


@pytest.mark.parametrize("height, width, border", [(150, 200, 4), (300, 400, 4), (1500, 2000, 16)])
def test_only_the_mask_and_its_outline_change(height, width, border):
    image, masks = photo(height, width), disks(1, height, width)
    before = image.copy()
    drawn = overlay(image, masks)
    changed = (drawn != image).any(axis=-1)
    assert not changed[~near(masks[0], border)].any()
    assert changed[masks[0]].mean() > 0.99
    assert (image == before).all() and drawn.dtype == np.uint8


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_tint_is_a_mixture(alpha):
    image, masks = photo(), disks()
    deep = ~near(~masks[0], 8)
    drawn = overlay(image, masks, alpha=alpha)[deep]
    assert np.abs(drawn - (image[deep] * (1 - alpha) + alpha * np.array(color_of(0)))).max() <= 0.51


def test_the_outline_has_the_full_color_inside_and_white_outside():
    image, masks = np.zeros((300, 400, 3), np.uint8), disks()
    drawn = overlay(image, masks, alpha=0.5)
    row = drawn[150]
    left = np.flatnonzero(masks[0, 150])[0]
    assert np.abs(row[left].astype(int) - color_of(0)).max() < 40
    assert row[left - 1].min() > 100


def test_the_best_mask_is_on_top_and_colors_are_stable():
    masks = np.zeros((2, 300, 400), bool)
    masks[0, 100:200, 100:200] = masks[1, 100:200, 150:300] = True
    image = np.zeros((300, 400, 3), np.uint8)
    drawn = overlay(image, masks, alpha=1.0)
    assert tuple(drawn[150, 170]) == color_of(0) and tuple(drawn[150, 250]) == color_of(1)
    alone = overlay(image, np.stack([np.zeros_like(masks[0]), masks[1]]), alpha=1.0)
    assert tuple(alone[150, 250]) == color_of(1)
    assert color_of(len(PALETTE)) == color_of(0)


def test_colors_differ_without_red_green_vision():
    """Simulated deuteranopia (Viénot 1999, linear RGB): every pair of colors stays apart."""
    linear = (np.array(PALETTE) / 255) ** 2.2
    seen = linear @ np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]).T
    shown = 255 * np.clip(seen, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(shown[:, None] - shown[None], axis=-1)
    assert apart[np.triu_indices(len(PALETTE), 1)].min() > 25


@pytest.mark.parametrize("masks", [disks()[:0], np.zeros_like(disks(3))], ids=["no masks", "empty masks"])
def test_no_target_is_said(masks):
    image = photo()
    drawn = overlay(image, masks, scores=[0.5] * len(masks))
    changed = (drawn != image).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert changed.any() and rows.min() > 200 and columns.max() < 200  # a caption at the bottom left, nothing else


def test_caption_stands_where_the_mask_is_not():
    image = photo()
    for at_bottom in (False, True):
        mask = np.zeros((1, 300, 400), bool)
        mask[0, 220:] = at_bottom
        mask[0, :80] = not at_bottom
        text = (overlay(image, mask, caption="a dog") != overlay(image, mask)).any(axis=-1)
        assert text.any() and not (text & mask[0]).any()


def test_every_mask_gets_its_tag():
    image, masks = photo(), disks(3)
    plain = overlay(image, masks)
    tagged = overlay(image, masks, labels=["a", "b", "c"], scores=[0.9, 0.8, 0.7])
    changed = (plain != tagged).any(axis=-1).astype(np.uint8)
    count, _ = cv2.connectedComponents(changed)
    assert count - 1 == 3
    for index in range(3):
        assert (tagged[changed.astype(bool)] == color_of(index)).all(axis=-1).any()


def test_tags_of_masks_on_one_place_do_not_cover_each_other():
    masks = np.repeat(disks(), 3, axis=0)
    drawn = overlay(photo(), masks, labels=["a", "b", "c"])
    for index in (1, 2):
        assert (drawn == color_of(index)).all(axis=-1).any()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 500), (7, 3), (30, 40), (200, 150)])
@pytest.mark.parametrize("fill", [True, False])
def test_tiny_photos_are_drawn_without_text_that_has_no_room(height, width, fill):
    masks = np.full((2, height, width), fill)
    drawn = overlay(photo(height, width), masks, ["one", "two"], [0.9, 0.8], caption="a long sentence " * 20)
    assert drawn.shape == (height, width, 3)


def test_lines_and_letters_grow_with_the_photo():
    small, large = (
        (overlay(photo(h, w), disks(1, h, w), caption="a dog") != photo(h, w)).any(axis=-1) & ~disks(1, h, w)[0]
        for h, w in ((600, 800), (1200, 1600))
    )
    assert 3.2 < large.sum() / small.sum() < 4.8


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image": photo()[..., 0]}, "expected image to be uint8 .*, got uint8 "),
        ({"image": photo() / 255}, "got float64"),
        ({"masks": disks()[0]}, r"expected masks to be bool \(masks, 300, 400\), got bool"),
        ({"masks": disks(1, 300, 401)}, r"\(1, 300, 401\)"),
        ({"masks": disks().astype(np.uint8)}, "uint8"),
        ({"labels": ["a", "b"]}, "expected labels to have one entry per mask, got 2 for 1 masks"),
        ({"scores": []}, "expected scores to have one entry per mask, got 0 for 1 masks"),
        ({"alpha": 1.5}, "expected alpha from 0 .*, got 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        overlay(**{"image": photo(), "masks": disks(), **changes})


def test_contact_sheet_layout():
    red = np.full((100, 200, 3), (255, 0, 0), np.uint8)
    blue = np.full((300, 100, 3), (0, 0, 255), np.uint8)
    sheet = contact_sheet([red, blue, red], columns=2, tile=64)
    assert sheet.shape == (2 + 64 + 2 + 32 + 2, 2 + 64 + 2 + 64 + 2, 3)  # a row is as high as its highest photo
    assert tuple(sheet[34, 34]) == (255, 0, 0) and tuple(sheet[34, 100]) == (0, 0, 255)
    assert tuple(sheet[84, 34]) == (255, 0, 0) and (sheet[70:, 70:] == 255).all()


def test_contact_sheet_captions_stand_below():
    plain = contact_sheet([photo()] * 2, tile=200)
    named = contact_sheet([photo()] * 2, tile=200, captions=["one", "a caption without any end " * 9])
    assert named.shape[1] == plain.shape[1] and named.shape[0] == plain.shape[0] + 20
    assert (named[: plain.shape[0] - 6] == plain[:-6]).all() and named[plain.shape[0] - 6 :].min() < 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"images": []}, "0 images"),
        ({"images": [photo()], "columns": 0}, "0 columns"),
        ({"images": [photo()], "captions": []}, "expected one caption per image, got 0 for 1 images"),
    ],
)
def test_contact_sheets_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        contact_sheet(**arguments)


@pytest.mark.parametrize("shape", [(1, 1000, 3), (1000, 1, 3), (1, 1, 3)])
def test_contact_sheet_of_thin_photos(shape):
    assert contact_sheet([np.zeros(shape, np.uint8)], tile=50, captions=[""]).ndim == 3
