"""Deformable attention and positions against slow references."""

import math

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from instructseg.model import deformable_attention
from instructseg.model.deformable_attention import (
    MultiScaleDeformableAttention,
    sample_by_embedding_bag,
    sample_by_grid_sample,
)
from instructseg.model.position import sine_position

SIZES = [(2, 3), (4, 5), (7, 6)]
HEADS, POINTS, DIM = 2, 3, 8


def bilinear(grid, x, y):
    """The value of grid[row][column] (height, width, dim) at pixel-edge coordinates, zeros outside."""
    height, width, dim = grid.shape
    x, y = x - 0.5, y - 0.5  # now whole numbers are cell centres
    value = torch.zeros(dim, dtype=grid.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * grid[row, column]
    return value


def slow_attention(attention, queries, reference, tokens, sizes, padding=None):
    """Equation 3 of Deformable DETR, one number at a time."""
    values = attention.value_proj(tokens)
    if padding is not None:
        values[padding] = 0
    offsets, logits = attention.sampling_offsets(queries), attention.attention_weights(queries)
    size = DIM // HEADS
    output = torch.zeros_like(queries)
    for b in range(queries.shape[0]):
        for q in range(queries.shape[1]):
            for head in range(HEADS):
                own = logits[b, q].view(HEADS, -1)[head]
                weights = (own - own.max()).exp() / (own - own.max()).exp().sum()
                start = 0
                for level, (height, width) in enumerate(sizes):
                    grid = values[b, start : start + height * width, head * size : (head + 1) * size]
                    grid = grid.reshape(height, width, size)
                    start += height * width
                    for point in range(POINTS):
                        dx, dy = offsets[b, q].view(HEADS, len(sizes), POINTS, 2)[head, level, point].tolist()
                        x, y = (reference[q] if reference.ndim == 2 else reference[b, q, level]).tolist()
                        read = bilinear(grid, x * width + dx, y * height + dy)
                        output[b, q, head * size : (head + 1) * size] += weights[level * POINTS + point] * read
    return attention.output_proj(output)


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(DIM, HEADS, len(SIZES), POINTS)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return attention


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("apart", [False, True], ids=["one_reference", "reference_of_each_level"])
@pytest.mark.parametrize("read", [sample_by_embedding_bag, sample_by_grid_sample])
@torch.no_grad()
def test_deformable_attention(attention, padded, apart, read, monkeypatch):
    monkeypatch.setattr(deformable_attention, "sample_by_embedding_bag", read)
    torch.manual_seed(1)
    cells = sum(height * width for height, width in SIZES)
    tokens, queries = torch.randn(2, cells, DIM), torch.randn(2, 5, DIM)
    reference = torch.rand(2, 5, len(SIZES), 2) if apart else torch.rand(5, 2)
    padding = torch.rand(2, cells) < 0.3 if padded else None
    fast = attention(queries, reference, tokens, SIZES, padding)
    torch.testing.assert_close(fast, slow_attention(attention, queries, reference, tokens, SIZES, padding))


@torch.no_grad()
def test_half_precision_keeps_its_coordinates(attention):
    torch.manual_seed(1)
    cells = sum(height * width for height, width in SIZES)
    inputs = torch.randn(1, 5, DIM), torch.rand(5, 2), torch.randn(1, cells, DIM)
    exact = attention(*inputs, SIZES)
    with torch.autocast("cpu", torch.bfloat16):
        rough = attention(*inputs, SIZES)
    assert (rough.float() - exact).abs().mean() < 0.03 * exact.abs().mean() + 0.02


def points(spread: float) -> tuple[torch.Tensor, ...]:
    """Values, reference, offsets and weights of 40 queries about 2 images, their points some `spread` cells away."""
    torch.manual_seed(2)
    cells, levels = sum(height * width for height, width in SIZES), len(SIZES)
    offsets = spread * torch.randn(2, 40, HEADS, levels, POINTS, 2)
    weights = torch.rand(2, 40, HEADS, levels, POINTS)
    given = torch.randn(2, cells, HEADS, DIM // HEADS), torch.rand(2, 40, levels, 2), offsets, weights
    return tuple(tensor.requires_grad_() for tensor in given)


@pytest.mark.parametrize("spread", [0.5, 3, 1000])
def test_both_ways_of_reading_points_agree(spread):
    given = points(spread)
    pull = torch.randn(2, 40, DIM)
    answers = []
    for read in (sample_by_embedding_bag, sample_by_grid_sample):
        output = read(*given, SIZES)
        answers.append([output, *torch.autograd.grad(output, given, pull)])
    for fast, usual in zip(*answers, strict=True):
        torch.testing.assert_close(fast, usual, atol=2e-5, rtol=1e-4)
    assert answers[0][0].abs().max() > 0.1 or spread == 1000


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@torch.no_grad()
def test_points_that_are_nowhere_read_nothing(wrong):
    """NaN must be seen in the output; infinitely far away there are zeros."""
    values, reference, offsets, weights = points(1)
    expected = sample_by_embedding_bag(values, reference, offsets, weights, SIZES)
    offsets[0, 3, 1, 2, 0, 1] = wrong
    found = sample_by_embedding_bag(values, reference, offsets, weights, SIZES)
    hit = torch.zeros_like(found, dtype=torch.bool)
    hit[0, 3, DIM // HEADS :] = True
    assert torch.equal(found[~hit], expected[~hit])
    assert found[hit].isnan().all() if math.isnan(wrong) else found[hit].isfinite().all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="expected hidden_size to be a multiple of num_heads, got 8 and 3"):
        MultiScaleDeformableAttention(8, 3, 1, 1)


@pytest.mark.parametrize("height, width, dim", [(3, 5, 8), (7, 4, 32), (1, 1, 4)])
def test_sine_position_is_that_of_mask2former(height, width, dim):
    theirs = Mask2FormerSinePositionEmbedding(num_position_features=dim // 2, normalize=True)
    expected = theirs(torch.Size((1, dim, height, width)), torch.device("cpu"), torch.float32)
    expected = expected[0].flatten(1).T if expected.ndim == 4 else expected[0]
    torch.testing.assert_close(sine_position(height, width, dim, torch.device("cpu")), expected, atol=1e-5, rtol=0)


def test_positions_tell_every_cell_apart():
    positions = sine_position(12, 12, 16, torch.device("cpu"))
    distances = torch.cdist(positions, positions) + 10 * torch.eye(144)
    assert distances.min() > 0.05
