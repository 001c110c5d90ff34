"""Preparation and its inverse: a mask prepared and restored lies where it lay."""

import numpy as np
import pytest
import torch

from instructseg.model.image_processing import InstructSegImageProcessor

SIZES = [(480, 640), (333, 217), (137, 301), (64, 64), (15, 23)]


@pytest.fixture(params=["pad", "stretch"])
def processor(request):
    return InstructSegImageProcessor(side=96, resize=request.param, clip_side=28)


def restored(processor, mask, stride=1):
    """A mask through the model's eyes: prepared, seen at a stride, brought back."""
    prepared = processor.prepare_mask(mask).float()[None]
    seen = torch.nn.functional.avg_pool2d(prepared, stride) - 0.5
    return (processor.restore(seen, processor.geometry(*mask.shape))[0] > 0).numpy()


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("stride", [1, 4])
def test_a_big_object_comes_back(processor, height, width, stride):
    y, x = np.mgrid[:height, :width]
    mask = ((y - 0.4 * height) / (0.35 * height)) ** 2 + ((x - 0.6 * width) / (0.3 * width)) ** 2 <= 1
    back = restored(processor, mask, stride)
    assert back.shape == mask.shape
    assert (back & mask).sum() / (back | mask).sum() > 0.9


@pytest.mark.parametrize("height, width", [(3, 200), (501, 2), (1, 9), (1, 1)])
def test_thin_photos(processor, height, width):
    half = np.arange(width)[None] < width / 2
    mask = np.broadcast_to(half if width > 2 else True, (height, width))
    back = restored(processor, mask)
    assert back.shape == mask.shape and (back & mask).sum() / (back | mask).sum() > 0.9
    assert not restored(processor, np.zeros((height, width), bool)).any()


def test_no_masks_come_back_as_none(processor):
    assert processor.restore(torch.zeros(0, 24, 24), processor.geometry(7, 9)).shape == (0, 7, 9)


@pytest.mark.parametrize("height, width", [(333, 217), (64, 129)])
def test_corners_stay_in_their_corners(processor, height, width):
    for bottom in (False, True):
        for right in (False, True):
            rows = slice(height - height // 4, None) if bottom else slice(height // 4)
            columns = slice(width - width // 4, None) if right else slice(width // 4)
            mask = np.zeros((height, width), bool)
            mask[rows, columns] = True
            back = restored(processor, mask)
            assert back[-1 if bottom else 0, -1 if right else 0] and (back & mask).sum() / (back | mask).sum() > 0.9


def test_photos_and_masks_are_moved_alike(processor):
    """A bright half of a photo and its mask cover the same cells of the input."""
    photo = np.zeros((50, 90, 3), np.uint8)
    photo[10:40, 45:] = 255
    pixels = processor.prepare(photo)
    assert pixels.shape == (3, 96, 96) and pixels.dtype == torch.float32
    bright = pixels[0] * processor.std[0] + processor.mean[0] > 200
    mask = processor.prepare_mask(photo[..., 0] > 0).bool()
    assert (bright & mask).sum() / (bright | mask).sum() > 0.95


def test_pad_fills_right_and_below_with_grey():
    processor = InstructSegImageProcessor(side=96, resize="pad")
    photo = np.full((40, 80, 3), 200, np.uint8)
    geometry = processor.geometry(40, 80)
    assert (geometry.covered, geometry.original) == ((48, 96), (40, 80))
    pixels = processor.prepare(photo).permute(1, 2, 0) * torch.tensor(processor.std) + torch.tensor(processor.mean)
    torch.testing.assert_close(pixels[:48], torch.full((48, 96, 3), 200.0))
    torch.testing.assert_close(pixels[48:], torch.full((48, 96, 3), 128.0))
    tall = processor.prepare(photo.swapaxes(0, 1))
    assert torch.equal(tall, processor.prepare(photo).swapaxes(1, 2))


def test_what_lies_in_the_padding_is_cut_off():
    processor = InstructSegImageProcessor(side=96, resize="pad")
    logits = torch.full((2, 24, 24), -1.0)
    logits[:, 13:] = 5  # rows 52 .. 96 of the input; the photo covers 0 .. 48
    assert not (processor.restore(logits, processor.geometry(40, 80)) > 0).any()
    logits[:, :, :12] = 5
    back = processor.restore(logits, processor.geometry(40, 80)) > 0
    assert back.shape == (2, 40, 80) and back[:, 5, :39].all() and not back[:, 5, 41:].any()


def test_normalisation_and_the_other_encoder():
    processor = InstructSegImageProcessor(side=32, clip_side=16, mean=(1, 2, 3), std=(4, 5, 6))
    photo = np.zeros((20, 40, 3), np.uint8)
    photo[:] = (9, 12, 21)
    expected = torch.tensor([(9 - 1) / 4, (12 - 2) / 5, (21 - 3) / 6])
    torch.testing.assert_close(processor.prepare(photo)[:, :16].mean((1, 2)), expected)
    clip = processor.prepare_clip(photo)
    assert clip.shape == (3, 16, 16)
    torch.testing.assert_close(clip[:, 3, 4], torch.tensor([9, 12, 21]) / 127.5 - 1)


def test_a_photo_of_one_pixel(processor):
    photo = np.full((1, 1, 3), 7, np.uint8)
    assert processor.prepare(photo).shape == (3, 96, 96) and processor.prepare_clip(photo).shape == (3, 28, 28)
    assert processor.geometry(1, 1).covered == (96, 96)


def test_the_callers_photo_is_not_changed(processor):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    kept = photo.copy()
    processor.prepare(photo)
    processor.prepare_clip(photo)
    assert (photo == kept).all()
