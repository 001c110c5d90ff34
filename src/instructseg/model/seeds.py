"""Seed proposals: one mask per detected box, from a dynamic mask head that never sees the instruction.

Our extension, in the line of two-stage queries (Deformable DETR; Mask DINO): a detector's boxes become instance masks
by conditional convolutions (CondInst, Tian et al. 2020), and the language model only scores them. Released weights
and the paper's preset do not use it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from instructseg.model.backbones.nanodet import STRIDES, Detections, NanoDet, NanoDetConfig, normalize
from instructseg.model.configuration import SeedConfig
from instructseg.model.constants import numbers_like
from instructseg.model.matching import pairwise_iou
from instructseg.model.tracing import exporting

DYNAMIC_WIDTH = 8  # channels of the dynamic head's hidden layers
OUTSIDE_SLOPE = 16.0  # how fast logits fall outside the enlarged box, per box size
GEOMETRY_SIZE = 7
MATCH_SIZE = 3
COMPARISON_SIZE = 6
PLACE_SIZE = 64
SHARPNESS = 10.0  # of the weights of an instruction's words by their cosine with a seed's class words
WORD_SCALE = 0.1  # approximate standard deviation of word embeddings
CERTAIN = 0.3  # detector score at which a seed counts half in comparisons
CLOSE_CENTRES, CLOSE_AREAS = 0.02, 0.1  # differences of centres (shares) and of log areas that hardly count
EMPTY = -30.0  # mask logit and score logit of a padding seed


@dataclass(frozen=True)
class Boxes:
    """Candidate boxes of a batch, best first.

    boxes (batch, n, 4): xyxy as shares of the input's width and height; scores (batch, n): probability of the best
    class; classes int (batch, n), -1 = unknown; valid bool (batch, n), False pads; cells int (batch, n): the
    detector's cell that predicted each box.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    valid: Tensor
    cells: Tensor

    def take(self, index: Tensor) -> Boxes:
        """The boxes at `index` (batch, m)."""
        return Boxes(
            self.boxes.gather(1, index[..., None].expand(-1, -1, 4)), self.scores.gather(1, index),
            self.classes.gather(1, index), self.valid.gather(1, index), self.cells.gather(1, index),
        )  # fmt: skip


@dataclass(frozen=True)
class Seeds:
    """Seed proposals of a batch: their boxes, features (batch, seeds, hidden_size), mask logits (batch, seeds, h, w),
    class probabilities (batch, seeds, classes) and the mean word embedding of the probable classes (batch, seeds, dim).
    """

    boxes: Boxes
    features: Tensor
    mask_logits: Tensor
    probabilities: Tensor
    words: Tensor


@dataclass(frozen=True)
class InstructionWords:
    """The instructions' words: their embeddings before (`inputs`) and after (`states`, E_d) the language model, both
    (batch, instructions, words, dim), and `mask`, bool (batch, instructions, words), False for padding."""

    inputs: Tensor
    states: Tensor
    mask: Tensor


@dataclass(frozen=True)
class SeedQueries:
    """What the decoder reads of the seeds.

    queries (batch, instructions, seeds, size); position (batch, seeds, size): their position embeddings; scores
    (batch, instructions, seeds): added to their score logits.
    """

    queries: Tensor
    position: Tensor
    scores: Tensor


@torch.no_grad()
def select_boxes(detections: Detections, size: tuple[int, int], count: int, nms_iou: float) -> Boxes:
    """The best `count` boxes of dense detections after class-agnostic suppression; `size` is the input's (h, w)."""
    scores, classes = detections.class_logits.float().sigmoid().max(-1)
    best = min(8 * count, scores.shape[1])
    scores, order = scores.topk(best, dim=1)
    height, width = size
    scale = numbers_like([width, height, width, height], detections.boxes)
    boxes = (detections.boxes.gather(1, order[..., None].expand(-1, -1, 4)) / scale).clamp(0, 1)
    keep = suppress(box_iou(boxes, boxes), nms_iou)
    index, valid = first_kept(keep, count)
    return replace(Boxes(boxes, scores, classes.gather(1, order), keep, order).take(index), valid=valid)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of every pair: xyxy (batch, n, 4), (batch, m, 4) -> (batch, n, m)."""
    corner = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    opposite = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    shared = (opposite - corner).clamp(min=0).prod(-1)
    area = lambda boxes: (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)  # noqa: E731
    return shared / (area(first)[:, :, None] + area(second)[:, None] - shared).clamp(min=1e-9)


def suppress(overlap: Tensor, limit: float) -> Tensor:
    """Greedy non-maximum suppression of rows sorted by score: overlaps (batch, n, n) -> kept, bool (batch, n)."""
    count = overlap.shape[1]
    repeats = (overlap > limit).triu(1)
    if exporting():
        return _suppress_in_few_steps(repeats)
    if overlap.device.type == "cpu":
        return _suppress_until_nothing_changes(repeats)
    keep = torch.ones(overlap.shape[:2], dtype=torch.bool, device=overlap.device)
    for index in range(count):  # an earlier kept row removes its later duplicates
        keep &= ~(repeats[:, index] & keep[:, index, None])
    return keep


def without_repeats(keep: Tensor, repeats: Tensor) -> Tensor:
    """The rows that no kept row repeats, of 0 and 1: kept rows (batch, n), repeats[i, j] of row i by its later row j
    (batch, n, n) -> (batch, n)."""
    return ((keep[:, None] @ repeats)[:, 0] < 0.5).to(keep.dtype)


def _suppress_until_nothing_changes(repeats: Tensor) -> Tensor:
    """`suppress` in few steps, on a CPU.

    A row stays if no kept earlier row repeats it. From all rows on, each step decides at least one more row for good,
    and what no step changes is the answer: after as many steps as the longest chain of repeats has rows. The number
    depends on values, so a GPU would have to wait for the host.
    """
    weights = repeats.float()
    keep = torch.ones_like(weights[:, 0])
    while True:
        earlier, keep = keep, without_repeats(keep, weights)
        if torch.equal(keep, earlier):
            return keep > 0.5


def _suppress_in_few_steps(repeats: Tensor) -> Tensor:
    """The same for torch.export, whose graph would else have thousands of operations."""
    from torch._higher_order_ops import while_loop

    weights = repeats.float()
    everything = torch.ones_like(weights[:, 0])

    def has_changed(keep: Tensor, earlier: Tensor) -> Tensor:
        return (keep != earlier).any()

    def step(keep: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        return without_repeats(keep, weights), keep.clone()

    return while_loop(has_changed, step, (everything, torch.zeros_like(everything)))[0] > 0.5


def first_kept(keep: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices of the first `count` kept rows, and which exist: bool (batch, n) -> int and bool (batch, count)."""
    rows = keep.shape[1]
    index = torch.where(keep, torch.arange(rows, device=keep.device), rows).sort(1).values[:, :count]
    return index.clamp(max=rows - 1), index < rows


class SeedProposer(nn.Module):
    """The detector, the mask head, and the projections that bring seeds into the language model and the decoder.

    `class_words` (classes, dim) are the word embeddings of the detector's class names.
    """

    class_words: Tensor

    def __init__(self, config: SeedConfig, channels: list[int], text_size: int, decoder_size: int):
        super().__init__()
        self.config = config
        self.detector = NanoDet(NanoDetConfig(num_classes=config.num_classes))
        self.head = SeedHead(config, channels)
        self.token_projection = nn.Linear(config.hidden_size + GEOMETRY_SIZE, text_size)
        self.query_projection = nn.Linear(config.hidden_size + GEOMETRY_SIZE + text_size, decoder_size)
        self.query_position = nn.Linear(GEOMETRY_SIZE, decoder_size)
        self.text_projection = nn.Sequential(nn.LayerNorm(decoder_size), nn.Linear(decoder_size, decoder_size))
        self.comparison_projection = nn.Sequential(
            nn.Linear(GEOMETRY_SIZE + COMPARISON_SIZE, decoder_size), nn.ReLU(), nn.Linear(decoder_size, decoder_size)
        )
        self.place_matching = PlaceMatching(text_size, decoder_size)
        self.match_projection = nn.Linear(MATCH_SIZE, decoder_size)
        self.word_projection = nn.Sequential(nn.LayerNorm(text_size), nn.Linear(text_size, decoder_size))
        self.feature_norm = nn.LayerNorm(config.hidden_size)
        self.match_score = nn.Linear(MATCH_SIZE, 1)
        self.plural_head = nn.Linear(decoder_size, 1)
        self.register_buffer("class_words", torch.zeros(config.num_classes, text_size))

    def detect(self, pixels: Tensor) -> Detections:
        """Detections of the model's input pixels (frames, 3, height, width)."""
        with torch.no_grad():
            return self.detector(normalize(pixels * self.config.pixel_std + self.config.pixel_mean))

    def propose(self, detections: Detections, pyramid: tuple[Tensor, ...], size: tuple[int, int]) -> Seeds:
        """The seeds of key frames, best first, padded to `num_seeds`; `size` is the input's (height, width)."""
        config = self.config
        batch = len(pyramid[0])
        keys = Detections(detections.class_logits[:batch], detections.boxes[:batch], detections.maps)
        candidates = select_boxes(keys, size, config.num_candidates, config.box_nms_iou)
        features, masks = self.head(pyramid, candidates)
        kept = suppress(mask_iou(masks), config.mask_nms_iou) & candidates.valid
        index, valid = first_kept(kept, config.num_seeds)
        boxes = replace(candidates.take(index), valid=valid)
        probabilities = keys.class_logits.sigmoid()
        probabilities = probabilities.gather(1, boxes.cells[..., None].expand(-1, -1, probabilities.shape[2]))
        masks = masks.gather(1, index[..., None, None].expand(-1, -1, *masks.shape[2:]))
        features = features.gather(1, index[..., None].expand(-1, -1, features.shape[2]))
        masks = masks.masked_fill(~valid[..., None, None], EMPTY)
        return Seeds(boxes, features, masks, probabilities, self.name(probabilities))

    def name(self, probabilities: Tensor) -> Tensor:
        """Mean word embedding of the classes, weighted by their probabilities: (..., classes) -> (..., dim)."""
        weights = probabilities.float().pow(2)  # sharper: twenty classes at 0.05 must not outweigh one at 0.6
        weights = weights / (weights.sum(-1, keepdim=True) + 0.05)
        return weights.to(self.class_words.dtype) @ self.class_words

    def tokens(self, seeds: Seeds | None, images: Tensor) -> Tensor:
        """The seeds as tokens of the language model's sequence (batch, seeds, dim), zeros for padding.

        A conversation does without seeds (None): all are padding. `images` gives the batch, type and device.
        """
        if seeds is None:
            return images.new_zeros(len(images), self.config.num_seeds, images.shape[2])
        features = self.feature_norm(seeds.features)
        projected = self.token_projection(torch.cat([features, geometry(seeds.boxes.boxes)], -1))
        return (projected + seeds.words) * seeds.boxes.valid[..., None]

    def queries(self, seeds: Seeds, text: Tensor, words: InstructionWords) -> SeedQueries:
        """The decoder's queries of the seeds; text E_v (batch, instructions, decoder_size).

        A query describes the seed (features, place, class words, comparison with its kind) and the instruction, and
        says how well the seed's class fits a word of the instruction and what the language model made of that word.
        Self-attention then compares the seeds under the instruction.
        """
        match, word = self.match(seeds, words)
        places = geometry(seeds.boxes.boxes).to(text.dtype)
        names = seeds.words.to(text.dtype) / WORD_SCALE
        described = self.query_projection(torch.cat([self.feature_norm(seeds.features), places, names], -1))
        compared = torch.cat([places, compare(seeds.boxes, seeds.probabilities).to(text.dtype)], -1)
        described = described + self.comparison_projection(compared)
        placed, place_score = self.place_matching(compared, words)
        under = self.text_projection(text)[:, :, None] + self.match_projection(match) + self.word_projection(word)
        score = self.match_score(match)[..., 0] + place_score
        return SeedQueries(described[:, None] + under + placed, self.query_position(places), score)

    def match(self, seeds: Seeds, words: InstructionWords) -> tuple[Tensor, Tensor]:
        """How well each seed's class words fit the instruction, and the language model's state of the fitting words.

        Returns (batch, instructions, seeds, MATCH_SIZE): the best cosine with a word, the detector's score and their
        product; and the states (batch, instructions, seeds, dim), weighted by the fit.
        """
        centre = self.class_words.mean(0)
        asked = nn.functional.normalize((words.inputs - centre).float(), dim=-1)
        classes = asked @ nn.functional.normalize((self.class_words - centre).float(), dim=-1).T
        # A class counts by its probability relative to the seed's most probable class.
        relative = seeds.probabilities / seeds.probabilities.amax(-1, keepdim=True)
        cosine = (classes[:, :, None] * relative[:, None, :, None].float()).amax(-1)
        cosine = cosine.masked_fill(~words.mask[:, :, None], -1.0)
        best = cosine.amax(-1)
        scores = seeds.boxes.scores[:, None].expand_as(best).float()
        weights = (cosine * SHARPNESS).softmax(-1).to(words.states.dtype)
        state = weights @ words.states
        features = torch.stack([best, scores, best * scores], -1)
        return features.to(words.states.dtype), state

    def evidence(self, detections: Detections, side: int) -> Tensor:
        """Class words of what the detector sees in each visual token's cell: (frames, tokens, dim).

        `side` is the input's side in pixels; visual tokens have stride 32.
        """
        sizes, cells = [side // stride for stride in STRIDES], side // STRIDES[-1]
        levels = detections.class_logits.sigmoid().split([side * side for side in sizes], 1)
        maps = [level.transpose(1, 2).unflatten(2, (side, side)) for level, side in zip(levels, sizes, strict=True)]
        pooled = torch.stack([nn.functional.adaptive_max_pool2d(level, cells) for level in maps]).amax(0)
        return self.name(pooled.flatten(2).transpose(1, 2))


class PlaceMatching(nn.Module):
    """How well each seed's place and size fit what the instruction says about them.

    The instruction's words about place and size are found by attention over its words, and multiplied with each seed's
    place, as in the location module of MAttNet (Yu et al. 2018).
    """

    def __init__(self, text_size: int, decoder_size: int):
        super().__init__()
        self.input_norm, self.state_norm = nn.LayerNorm(text_size), nn.LayerNorm(text_size)
        self.attention = nn.Linear(2 * text_size, 1)
        self.text = nn.Linear(2 * text_size, PLACE_SIZE)
        self.place = nn.Sequential(
            nn.Linear(GEOMETRY_SIZE + COMPARISON_SIZE, PLACE_SIZE), nn.ReLU(), nn.Linear(PLACE_SIZE, PLACE_SIZE)
        )
        self.output = nn.Linear(PLACE_SIZE, decoder_size)
        self.score = nn.Linear(PLACE_SIZE, 1)

    def forward(self, places: Tensor, words: InstructionWords) -> tuple[Tensor, Tensor]:
        """Added to the seeds' queries (batch, instructions, seeds, decoder_size) and to their scores (batch,
        instructions, seeds); places (batch, seeds, GEOMETRY_SIZE + COMPARISON_SIZE)."""
        both = torch.cat([self.input_norm(words.inputs), self.state_norm(words.states)], -1)
        weights = self.attention(both)[..., 0].masked_fill(~words.mask, torch.finfo(both.dtype).min).softmax(-1)
        asked = self.text((weights[..., None] * both).sum(2))
        fit = asked[:, :, None] * self.place(places)[:, None]
        return self.output(fit), self.score(fit)[..., 0]


class SeedHead(nn.Module):
    """Masks of boxes: a dynamic head of three 1x1 convolutions whose weights come from each box's own features.

    Input: the backbone's pyramid (strides 4, 8, 16, 32, finest first, each (batch, channels, h, w)) and boxes.
    """

    def __init__(self, config: SeedConfig, channels: list[int]):
        super().__init__()
        self.config = config
        width, groups = config.lateral_size, min(16, config.lateral_size)
        self.laterals = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.mix = nn.Sequential(
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, config.mask_channels, 3, padding=1),
        )  # fmt: skip
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.class_size)  # the last row: unknown
        pooled = 9 * (width + config.mask_channels)
        self.features = nn.Sequential(
            nn.Linear(pooled + GEOMETRY_SIZE + config.class_size, config.hidden_size), nn.ReLU(),
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(),
        )  # fmt: skip
        inputs = config.mask_channels + 2
        self.sizes = [(DYNAMIC_WIDTH, inputs), (DYNAMIC_WIDTH, DYNAMIC_WIDTH), (1, DYNAMIC_WIDTH)]
        self.weights = nn.Linear(config.hidden_size, sum(out * (size + 1) for out, size in self.sizes))

    def forward(
        self, pyramid: tuple[Tensor, ...], boxes: Boxes, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features (batch, n, hidden_size) and mask logits at stride 4 (batch, n, h, w) of every box."""
        coarse, mask_map = self.maps(pyramid)
        features = self.describe(coarse, mask_map, boxes, generator)
        return features, self.masks(features, mask_map, boxes.boxes)

    def maps(self, pyramid: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The sum of all levels at stride 8 (batch, lateral_size, h, w), and the mask map at stride 4."""
        levels = [lateral(level) for lateral, level in zip(self.laterals, pyramid, strict=True)]
        total = levels[-1]
        for level in levels[-2:0:-1]:
            total = level + _resize(total, level.shape[-2:])
        return total, self.mix(levels[0] + _resize(total, levels[0].shape[-2:]))

    def describe(
        self, coarse: Tensor, mask_map: Tensor, boxes: Boxes, generator: torch.Generator | None = None
    ) -> Tensor:
        """Features (batch, n, hidden_size) from both maps inside each box, the box's geometry and its class."""
        inside = [sample_boxes(level, boxes.boxes).flatten(2) for level in (coarse, mask_map)]
        classes = torch.where(boxes.classes < 0, self.config.num_classes, boxes.classes)
        if self.training and self.config.class_dropout:
            drop = torch.rand(classes.shape, generator=generator).to(classes.device) < self.config.class_dropout
            classes = classes.masked_fill(drop, self.config.num_classes)
        return self.features(torch.cat([*inside, geometry(boxes.boxes), self.class_embedding(classes)], -1))

    def masks(self, features: Tensor, mask_map: Tensor, boxes: Tensor) -> Tensor:
        """Mask logits (batch, n, h, w): the dynamic head over the mask map and coordinates relative to each box.

        A box's coordinates are linear in those of the photo, so that the first layer's weights take them in, and all
        boxes read one map with the photo's coordinates: none needs a copy. That takes float32, as differences of large
        products are small.
        """
        batch, count = boxes.shape[:2]
        height, width = mask_map.shape[-2:]
        number = torch.promote_types(mask_map.dtype, torch.float32)
        with _without_autocast(mask_map.device):
            x, y = cell_centres(width, boxes), cell_centres(height, boxes)
            places = torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).to(number)
            values = torch.cat([mask_map.to(number), places.expand(batch, -1, -1, -1)], 1).flatten(2)
            (first, first_bias), *others = self._layers(self.weights(features.to(self.weights.weight.dtype)).to(number))
            centre, half = (part.to(number)[..., None, :] for part in centre_and_half(boxes))
            of_places = first[..., -2:] / half  # (batch, n, outputs, 2)
            first_bias = first_bias - (of_places * centre).sum(-1, keepdim=True)
            first = torch.cat([first[..., :-2], of_places], -1)
            hidden = torch.baddbmm(first_bias.flatten(1, 2), first.flatten(1, 2), values)
            hidden = hidden.view(batch * count, -1, height * width)
            for matrix, bias in others:
                hidden = torch.baddbmm(bias.flatten(0, 1), matrix.flatten(0, 1), hidden.relu_())
            margin = self.config.box_margin
            outside = [(axis.abs() - margin).clamp(min=0) for axis in relative_coordinates(boxes, height, width)]
            beyond = (outside[0][..., None, :] + outside[1][..., None]).to(number)
            return torch.add(hidden.view_as(beyond), beyond, alpha=-OUTSIDE_SLOPE).to(mask_map.dtype)

    def _layers(self, parameters: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The dynamic layers' matrices (batch, n, outputs, inputs) and biases (batch, n, outputs, 1)."""
        layers, start = [], 0
        for outputs, inputs in self.sizes:
            bias = start + outputs * inputs
            matrix = parameters[..., start:bias].unflatten(-1, (outputs, inputs))
            start = bias + outputs
            layers.append((matrix, parameters[..., bias:start, None]))
        return layers


def mask_iou(mask_logits: Tensor) -> Tensor:
    """IoU of every pair of masks: (batch, n, h, w) -> (batch, n, n)."""
    masks = (mask_logits > 0).flatten(2).float()
    return pairwise_iou(masks, masks)


def sample_boxes(level: Tensor, boxes: Tensor, cells: int = 3) -> Tensor:
    """Bilinear samples at the centres of cells x cells cells of each box: (batch, c, h, w), boxes (batch, n, 4) as
    shares -> (batch, n, c, cells * cells)."""
    centres = (torch.arange(cells, device=boxes.device, dtype=boxes.dtype) + 0.5) / cells
    x = boxes[..., 0, None] + (boxes[..., 2] - boxes[..., 0])[..., None] * centres
    y = boxes[..., 1, None] + (boxes[..., 3] - boxes[..., 1])[..., None] * centres
    points = torch.stack([x[..., None, :].expand(*y.shape, cells), y[..., None].expand(*y.shape, cells)], -1)
    sampled = nn.functional.grid_sample(level, 2 * points.flatten(2, 3).to(level.dtype) - 1, align_corners=False)
    return sampled.permute(0, 2, 1, 3)


def geometry(boxes: Tensor) -> Tensor:
    """Centre, size, log size and log aspect of boxes (batch, n, 4) as shares: (batch, n, 7)."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    centre = (boxes[..., 2:] + boxes[..., :2]) / 2
    logs = size.log()
    return torch.cat([centre, size, logs, (logs[..., :1] - logs[..., 1:])], -1)


def compare(boxes: Boxes, probabilities: Tensor) -> Tensor:
    """Each seed's place and size among the other seeds of its class: (batch, n, COMPARISON_SIZE), each in 0..1.

    For the centre's x and y and the logarithm of the area: the number of others with a larger value, then the number of
    others with a smaller one, as count / (1 + count). The leftmost of the dogs therefore has no smaller x, wherever the
    dogs are. The weight of another seed is the similarity of its class probabilities (batch, n, classes), times its
    score, times 1 - IoU, because an overlapping seed is often the same object. MAttNet (Yu et al. 2018) also compares
    an object with others of its class.
    """
    probabilities = nn.functional.normalize(probabilities.float(), dim=-1)
    similar = (probabilities @ probabilities.transpose(1, 2)).square()
    scores = boxes.scores.float().square()
    weights = similar * (scores / (scores + CERTAIN**2))[:, None] * (1 - box_iou(boxes.boxes, boxes.boxes))
    weights = weights * boxes.valid[:, None] * (1 - torch.eye(weights.shape[1], device=weights.device))
    shape = geometry(boxes.boxes).float()
    values = torch.cat([shape[..., :2] / CLOSE_CENTRES, shape[..., 4:6].sum(-1, keepdim=True) / CLOSE_AREAS], -1)
    larger = (values[:, None] - values[:, :, None]).sigmoid()  # (batch, n, others, 3)
    counts = torch.cat([(weights[..., None] * larger).sum(2), (weights[..., None] * (1 - larger)).sum(2)], -1)
    return counts / (1 + counts)


def relative_coordinates(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Each column's x and each row's y relative to each box, -1..1 inside it: (batch, n, width), (batch, n, height)."""
    centre, half = centre_and_half(boxes)
    places = cell_centres(width, boxes), cell_centres(height, boxes)
    across, down = ((place - centre[..., axis, None]) / half[..., axis, None] for axis, place in enumerate(places))
    return across, down


def centre_and_half(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The centres and half the sizes of boxes (..., 4): (..., 2) each, x and y."""
    return (boxes[..., 2:] + boxes[..., :2]) / 2, ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=1e-3)


def cell_centres(count: int, like: Tensor) -> Tensor:
    """The centres of `count` cells in a row as shares of its length."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def _resize(features: Tensor, size: torch.Size) -> Tensor:
    return nn.functional.interpolate(features, size=tuple(size), mode="bilinear")
