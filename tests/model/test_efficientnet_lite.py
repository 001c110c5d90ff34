"""The EfficientNet-Lite backbone: TensorFlow's padding, strides, names of cells."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoBackbone

from instructseg.model.backbones.efficientnet_lite import (
    HEAD_CHANNELS,
    EfficientNetLiteConfig,
    InvertedResidual,
    NormedConvolution,
    SameConv2d,
)


def same_convolution(image, weight, stride):
    """TensorFlow's documentation of "SAME": out = ceil(in / stride), the odd pixel of padding below and right."""
    channels, height, width = image.shape
    outputs, _, kernel, _ = weight.shape
    rows, columns = -(-height // stride), -(-width // stride)
    down, across = (max((count - 1) * stride + kernel - size, 0) for count, size in ((rows, height), (columns, width)))
    padded = np.zeros((channels, height + down, width + across))
    padded[:, down // 2 : down // 2 + height, across // 2 : across // 2 + width] = image
    result = np.zeros((outputs, rows, columns))
    for out in range(outputs):
        for row in range(rows):
            for column in range(columns):
                top, left = row * stride, column * stride
                result[out, row, column] = (padded[:, top : top + kernel, left : left + kernel] * weight[out]).sum()
    return result


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("height, width", [(8, 8), (7, 9), (6, 5), (1, 2)])
def test_same_padding_at_stride_2(kernel, height, width):
    torch.manual_seed(0)
    convolution = SameConv2d(2, 3, kernel, 2, bias=False)
    image = torch.randn(1, 2, height, width)
    expected = same_convolution(image[0].numpy(), convolution.weight.detach().numpy(), 2)
    np.testing.assert_allclose(convolution(image)[0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kernel, stride, groups", [(1, 1, 1), (3, 1, 4), (3, 2, 1), (5, 2, 4)])
def test_a_fixed_norm_is_folded_into_its_convolution(kernel, stride, groups):
    torch.manual_seed(0)
    folded = NormedConvolution(4, 8, kernel, stride, groups)
    convolution, norm = folded
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(values, 0.2, 2.0)
    image = torch.randn(2, 4, 9, 12)
    training = folded.train()(image)
    torch.testing.assert_close(training, norm(convolution(image)))
    folded.eval()
    torch.testing.assert_close(folded(image), norm(convolution(image)), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(training, folded(image), atol=1e-2)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    config = EfficientNetLiteConfig(width=0.25, depth=0.5, image_size=64, num_classes=7)
    return AutoBackbone.from_config(config).eval()


@pytest.mark.parametrize("height, width", [(64, 64), (96, 64), (65, 33)])
@torch.no_grad()
def test_strides(backbone, height, width):
    maps = backbone(torch.randn(2, 3, height, width)).feature_maps
    assert len(maps) == len(backbone.channels) == 4
    for stride, channels, each in zip((4, 8, 16, 32), backbone.channels, maps, strict=True):
        assert each.shape == (2, channels, -(-height // stride), -(-width // stride))


def test_published_widths_and_repeats():
    lite0, lite2 = EfficientNetLiteConfig(), EfficientNetLiteConfig(width=1.1, depth=1.2)
    assert [lite0.channels(each) for each in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 40, 80, 112, 192, 320]
    assert [lite2.channels(each) for each in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]
    assert [lite0.repeats(stage) for stage in range(7)] == [1, 2, 2, 3, 3, 4, 1]
    assert [lite2.repeats(stage) for stage in range(7)] == [1, 3, 3, 4, 4, 5, 1]


@torch.no_grad()
def test_cells_are_named_by_the_classifier_of_the_whole_picture(backbone):
    """On a map that is the same everywhere each cell says what global pooling would."""
    last = torch.rand(1, backbone.channels[-1], 1, 1).expand(-1, -1, 3, 2)
    features, probabilities = backbone.classify_cells(last)
    assert features.shape == (1, 6, HEAD_CHANNELS) and probabilities.shape == (1, 6, 7)
    pooled = nn.functional.relu6(backbone.head(last)).mean((2, 3))
    expected = backbone.classifier(pooled).softmax(-1)
    torch.testing.assert_close(probabilities, expected[:, None].expand(-1, 6, -1))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(1, 6))


@torch.no_grad()
def test_cells_are_named_in_reading_order(backbone):
    last = torch.rand(1, backbone.channels[-1], 2, 3)
    _, whole = backbone.classify_cells(last)
    _, one = backbone.classify_cells(last[:, :, 1:, 2:])
    torch.testing.assert_close(whole[:, 5], one[:, 0])


@torch.no_grad()
def test_the_classifiers_features_can_be_the_deepest_map(backbone):
    config = EfficientNetLiteConfig(
        width=0.25, depth=0.5, image_size=64, num_classes=7, out_features=["stage2", "stage3", "stage5", "head"]
    )
    deep = AutoBackbone.from_config(config).eval()
    deep.load_state_dict(backbone.state_dict())
    image = torch.randn(1, 3, 64, 96)
    narrow, wide = backbone(image).feature_maps[-1], deep(image).feature_maps[-1]
    assert deep.channels[-1] == HEAD_CHANNELS and wide.shape == (1, HEAD_CHANNELS, 2, 3)
    for ours, theirs in zip(deep.classify_cells(wide), backbone.classify_cells(narrow), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("inputs, outputs, stride, residual", [(8, 8, 1, True), (8, 16, 1, False), (8, 8, 2, False)])
@torch.no_grad()
def test_residual_only_where_sizes_agree(inputs, outputs, stride, residual):
    block = InvertedResidual(inputs, outputs, 3, stride, 6).eval()
    block.project[1].weight.zero_()
    image = torch.randn(1, inputs, 6, 6)
    result = block(image)
    assert result.shape == (1, outputs, 6 // stride, 6 // stride)
    assert torch.equal(result, image) if residual else not result.any()
