"""NanoDet as a module, its box decoding against a slow reference, and its published weights."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instructseg.conversion.nanodet import load_nanodet
from instructseg.errors import CheckpointError
from instructseg.model.backbones.nanodet import SIDE_BINS, STRIDES, NanoDet, NanoDetConfig, normalize


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return NanoDet(NanoDetConfig()).eval()


@torch.inference_mode()
def test_one_prediction_per_cell(detector):
    found = detector(normalize(torch.rand(2, 3, 64, 96) * 255))
    sizes = [(64 // stride, 96 // stride) for stride in STRIDES]
    assert [tuple(level.shape) for level in found.maps] == [(2, 128, *size) for size in sizes]
    cells = sum(height * width for height, width in sizes)
    assert found.class_logits.shape == (2, cells, 80) and found.boxes.shape == (2, cells, 4)


@torch.inference_mode()
def test_boxes_are_expected_distances_from_cell_centres(detector):
    """The box of one cell by hand: expectation over the bins, times the stride, from the cell's centre."""
    torch.manual_seed(1)
    sides = 3 * torch.randn(1, 4 * SIDE_BINS, 2, 3)
    row, column, stride = 1, 2, 16
    distances = []
    for side in range(4):
        weights = sides[0, side * SIDE_BINS : (side + 1) * SIDE_BINS, row, column].exp().tolist()
        expectation = sum(number * weight for number, weight in enumerate(weights)) / sum(weights)
        distances.append(expectation * stride)
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    expected = torch.tensor([x - distances[0], y - distances[1], x + distances[2], y + distances[3]])
    torch.testing.assert_close(detector._boxes(sides, stride)[0, row * 3 + column], expected)


def test_channels_are_swapped_before_they_are_normalized():
    red = torch.zeros(1, 3, 1, 1)
    red[:, 0] = 255
    blue, green, last = normalize(red).flatten().tolist()
    assert last > 0 > max(blue, green)


def test_missing_files_are_named(detector, tmp_path):
    with pytest.raises(CheckpointError, match=r"nanodet\.json"):
        load_nanodet(detector, tmp_path)


def test_published_weights_equal_recorded_outputs(detector, shared_data):
    """Needs INSTRUCTSEG_NANODET, the folder with nanodet.json and nanodet.bin, and the recorded outputs."""
    folder = os.environ.get("INSTRUCTSEG_NANODET")
    recorded = shared_data / "reference" / "nanodet" / "recorded_coffee.safetensors"
    if not folder or not recorded.is_file():
        pytest.skip("needs NanoDet's files (INSTRUCTSEG_NANODET) and recorded outputs")
    load_nanodet(detector, Path(folder))
    tensors = {name.removeprefix("coffee."): tensor for name, tensor in load_file(recorded).items()}
    with torch.inference_mode():
        found = detector(tensors["input"])
    for level, name in zip(found.maps, ("Add_107", "Add_128", "Add_149"), strict=True):
        torch.testing.assert_close(level, tensors[name], atol=1e-4, rtol=1e-4)
    logits = [tensors[name].flatten(2).transpose(1, 2) for name in ("Split_153", "Split_164", "Split_175")]
    torch.testing.assert_close(found.class_logits, torch.cat(logits, 1), atol=1e-4, rtol=1e-4)
