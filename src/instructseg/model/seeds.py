"""Seed proposals: one mask per detected box, from a dynamic mask head that never sees the instruction.

Our extension, in the line of two-stage queries (Deformable DETR; Mask DINO): a detector's boxes become instance masks
by conditional convolutions (`seed_head`), and the language model only scores them. Released weights and the paper's
preset do not use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from instructseg.model.backbones.nanodet import STRIDES, Detections, NanoDet, NanoDetConfig, normalize
from instructseg.model.boxes import GEOMETRY_SIZE, Boxes, box_iou, first_kept, geometry, select_boxes, suppress
from instructseg.model.configuration import SeedConfig
from instructseg.model.seed_head import SeedHead, mask_iou

MATCH_SIZE = 3  # values per seed that `SeedProposer.match` returns
COMPARISON_SIZE = 6  # values per seed that `compare_with_class` returns
PLACE_SIZE = 64  # channels of `PlaceMatching`
WORD_SHARPNESS = 10.0  # factor before the softmax over an instruction's words of their cosine with a seed's class words
WORD_SCALE = 0.1  # approximate standard deviation of word embeddings
HALF_WEIGHT_SCORE = 0.3  # detector score at which a seed has half the weight in comparisons
CLOSE_CENTRES, CLOSE_AREAS = 0.02, 0.1  # scale of differences of centres (shares) and of log areas in comparisons
PADDING_LOGIT = -30.0  # mask logit and score logit of a padding seed


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
        masks = masks.masked_fill(~valid[..., None, None], PADDING_LOGIT)
        return Seeds(boxes, features, masks, probabilities, self.embed_classes(probabilities))

    def embed_classes(self, probabilities: Tensor) -> Tensor:
        """Mean word embedding of the classes, weighted by their probabilities: (..., classes) -> (..., dim)."""
        weights = probabilities.float().pow(2)  # sharper: twenty classes at 0.05 must not outweigh one at 0.6
        weights = weights / (weights.sum(-1, keepdim=True) + 0.05)
        return weights.to(self.class_words.dtype) @ self.class_words

    def tokens(self, seeds: Seeds | None, images: Tensor) -> Tensor:
        """The seeds as tokens of the language model's sequence (batch, seeds, dim), zeros for padding.

        `seeds` is None in a conversation, which has none: all tokens are zeros. `images`, the visual tokens (batch,
        patches, dim), determines batch size, dtype and device.
        """
        if seeds is None:
            return images.new_zeros(len(images), self.config.num_seeds, images.shape[2])
        features = self.feature_norm(seeds.features)
        projected = self.token_projection(torch.cat([features, geometry(seeds.boxes.boxes)], -1))
        return (projected + seeds.words) * seeds.boxes.valid[..., None]

    def queries(self, seeds: Seeds, text: Tensor, words: InstructionWords) -> SeedQueries:
        """The decoder's queries of the seeds; text E_v (batch, instructions, decoder_size).

        A query is a sum of embeddings: of the seed (features, box, class words, comparison with seeds of its class), of
        the instruction, of how well the seed's class matches a word of the instruction, and of the language model's
        state of that word. The decoder's self-attention then compares the seeds of one instruction.
        """
        match, word = self.match(seeds, words)
        places = geometry(seeds.boxes.boxes).to(text.dtype)
        names = seeds.words.to(text.dtype) / WORD_SCALE
        described = self.query_projection(torch.cat([self.feature_norm(seeds.features), places, names], -1))
        compared = torch.cat([places, compare_with_class(seeds.boxes, seeds.probabilities).to(text.dtype)], -1)
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
        weights = (cosine * WORD_SHARPNESS).softmax(-1).to(words.states.dtype)
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
        return self.embed_classes(pooled.flatten(2).transpose(1, 2))


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


def compare_with_class(boxes: Boxes, probabilities: Tensor) -> Tensor:
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
    weights = similar * (scores / (scores + HALF_WEIGHT_SCORE**2))[:, None] * (1 - box_iou(boxes.boxes, boxes.boxes))
    weights = weights * boxes.valid[:, None] * (1 - torch.eye(weights.shape[1], device=weights.device))
    shape = geometry(boxes.boxes).float()
    values = torch.cat([shape[..., :2] / CLOSE_CENTRES, shape[..., 4:6].sum(-1, keepdim=True) / CLOSE_AREAS], -1)
    larger = (values[:, None] - values[:, :, None]).sigmoid()  # (batch, n, others, 3)
    counts = torch.cat([(weights[..., None] * larger).sum(2), (weights[..., None] * (1 - larger)).sum(2)], -1)
    return counts / (1 + counts)
