"""EfficientNet-Lite as a transformers backbone, with its ImageNet classifier to classify each cell of its last map.

Architecture facts: EfficientNet (Tan and Le, 2019) without squeeze-and-excitation, with ReLU6, and with stem and
head widths that do not scale; the "Lite" variants of the TensorFlow TPU models.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

# (kernel, stride, expansion, channels, repeats) of each stage at width 1 and depth 1.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Last stages (1-based) whose maps have stride 4, 8, 16 and 32.
PYRAMID_STAGES = (2, 3, 5, 7)
BATCH_NORM_EPS = 1e-3


@strict
class EfficientNetLiteConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of `EfficientNetLiteBackbone`; Lite0 has width 1.0 and depth 1.0, Lite2 1.1 and 1.2.

    `out_features` names the maps to return, by default the last of strides 4, 8, 16 and 32. The last one may be that of
    "stage7" (narrow, without activation) or of "head", the 1280 features that the classifier reads.
    """

    model_type = "efficientnet_lite"

    width: float = 1.0
    """Multiplier of the stages' channels, above 0."""
    depth: float = 1.0
    """Multiplier of the stages' blocks, above 0."""
    image_size: int = 384
    """Side of the input in pixels; a multiple of 32."""
    num_classes: int = 1000
    """Classes of the classifier; 1 or more."""
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs):
        self.stage_names = ["stem", *(f"stage{index}" for index in range(1, len(STAGES) + 1)), "head"]
        self.set_output_features_output_indices(
            out_indices=kwargs.pop("out_indices", None),
            out_features=kwargs.pop("out_features", None) or [f"stage{index}" for index in PYRAMID_STAGES],
        )
        super().__post_init__(**kwargs)

    def channels(self, channels: int) -> int:
        """Scaled channel count, rounded to a multiple of 8 and never below 90 % of the scaled value."""
        scaled = channels * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def repeats(self, stage: int) -> int:
        """Blocks of stage `stage` (0-based); the first and the last stage do not scale."""
        repeats = STAGES[stage][4]
        return repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * self.depth)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME", as the weights expect: an odd padding pixel goes right or below."""

    def forward(self, input: Tensor) -> Tensor:
        return self.convolve(input, self.weight, self.bias)

    def convolve(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`forward` with other weights of the same shape."""
        padding = []
        for size, kernel, stride in zip(inputs.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        left, right, top, bottom = padding
        even = left == right and top == bottom  # e.g. stride 1: the convolution pads without a copy
        inputs = inputs if even else nn.functional.pad(inputs, padding)
        return nn.functional.conv2d(inputs, weight, bias, self.stride, (top, left) if even else 0, 1, self.groups)


class NormedConvolution(nn.Sequential):
    """A convolution and its batch norm; in eval mode one convolution, with the fixed norm folded into its weights.

    This saves a pass over the map for each of about sixty norms: encoding is memory-bound.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        convolution = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS))

    def forward(self, input: Tensor) -> Tensor:
        convolution, norm = cast(tuple[SameConv2d, nn.BatchNorm2d], tuple(self))
        if norm.training:
            return norm(convolution(input))
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return convolution.convolve(input, convolution.weight * scale[:, None, None, None],
                                    norm.bias - norm.running_mean * scale)  # fmt: skip


class InvertedResidual(nn.Module):
    """Expand by a pointwise convolution, filter by a depthwise one, project back; residual when sizes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = NormedConvolution(inputs, hidden) if expansion > 1 else None
        self.depthwise = NormedConvolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = NormedConvolution(hidden, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs if self.expand is None else nn.functional.relu6(self.expand(inputs), inplace=True)
        hidden = self.project(nn.functional.relu6(self.depthwise(hidden), inplace=True))
        return inputs + hidden if self.residual else hidden


class EfficientNetLiteBackbone(BackboneMixin, PreTrainedModel):
    """The convolutional pyramid and, by `classify_cells`, the class probabilities of every cell of its last map.

    Input: pixels (batch, 3, height, width) with values (x - 127) / 128. `forward` returns the maps named in
    `config.out_features`, by default strides 4, 8, 16 and 32.
    """

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    has_attentions = False
    _supports_sdpa = _supports_flash_attn = _supports_attention_backend = True  # it has no attention
    _no_split_modules = ["InvertedResidual"]

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        self.stem = NormedConvolution(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        self.num_features = [STEM_CHANNELS]
        for index, (kernel, stride, expansion, channels, _) in enumerate(STAGES):
            outputs = config.channels(channels)
            blocks = [
                InvertedResidual(outputs if block else self.num_features[-1], outputs, kernel,
                                 1 if block else stride, expansion)
                for block in range(config.repeats(index))
            ]  # fmt: skip
            self.stages.append(nn.Sequential(*blocks))
            self.num_features.append(outputs)
        self.head = NormedConvolution(self.num_features[-1], HEAD_CHANNELS)
        self.num_features.append(HEAD_CHANNELS)
        self.classifier = nn.Linear(HEAD_CHANNELS, config.num_classes)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput:
        """Maps of pixels (batch, 3, height, width); the options of transformers' backbones have no effect."""
        hidden = nn.functional.relu6(self.stem(pixel_values), inplace=True)
        maps = {"stem": hidden}
        for index, stage in enumerate(self.stages, start=1):
            hidden = stage(hidden)
            maps[f"stage{index}"] = hidden
        if "head" in self.out_features:
            maps["head"] = nn.functional.relu6(self.head(hidden), inplace=True)
        features = tuple(maps[name] for name in self.out_features)
        # transformers' annotation is a tuple of exactly one map.
        return BackboneOutput(feature_maps=features)  # pyright: ignore[reportArgumentType]

    def classify_cells(self, last_map: Tensor) -> tuple[Tensor, Tensor]:
        """Classifier features and class probabilities of each cell of the stride-32 map, the last one of `forward`.

        Shapes: (batch, channels, height, width) -> features (batch, height * width, 1280) and probabilities
        (batch, height * width, num_classes), row-major.
        """
        if self.out_features[-1] != "head":
            last_map = nn.functional.relu6(self.head(last_map), inplace=True)
        features = last_map.flatten(2).transpose(1, 2)
        return features, self.classifier(features).float().softmax(-1)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        else:
            super()._init_weights(module)


AutoConfig.register("efficientnet_lite", EfficientNetLiteConfig, exist_ok=True)
AutoBackbone.register(EfficientNetLiteConfig, EfficientNetLiteBackbone, exist_ok=True)
