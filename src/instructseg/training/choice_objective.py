"""`objective: choice`: text fusion, decoder and seed queries learn to choose, from stored states of all other parts.

With `seeds_only`, the seeds compete with each other and with "no target", and instructions whose object no seed shows
are left out. Otherwise the loss is the segmentation loss of `objective: instructions` (`Criterion.segmentation`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from instructseg.model.choice import choice_loss, plural_loss, proposal_quality
from instructseg.model.modeling import InstructSegModel
from instructseg.model.targets import LossNormalizers, Targets
from instructseg.model.text_fusion import one_embedding
from instructseg.training.states import SampleStates

MIN_QUALITY = 0.4
"""Minimum IoU of the best seed with an object at which an instruction is learned from seeds alone."""


class ChoiceObjective(nn.Module):
    """The loss of one sample's states and its terms; same interface as `objective.Objective`."""

    def __init__(self, model: InstructSegModel, seeds_only: bool) -> None:
        super().__init__()
        self.model, self.seeds_only = model, seeds_only

    def forward(
        self, inputs: SampleStates, targets: Targets, normalizers: LossNormalizers, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, a scalar, and its weighted terms by name."""
        visual, hidden = inputs.visual, inputs.hidden
        fused = self.model.fuse(hidden, visual)
        text = one_embedding(fused)
        proposer = self.model.seed_proposer
        assert proposer is not None and visual.seeds is not None and hidden.words is not None
        plural = proposer.plural_head(text)[..., 0].float()
        if self.seeds_only:
            assert visual.pixels is not None
            queries = proposer.queries(visual.seeds, text, hidden.words)
            scores = self.model.mask_decoder.score_seeds(visual.pixels, text, visual.seeds, queries)
            terms = _seed_terms(scores, visual.seeds.mask_logits, plural, targets, normalizers)
        else:
            generator = torch.Generator().manual_seed(seed)
            known = torch.ones(targets.valid.shape[:2], dtype=torch.bool, device=text.device)
            targets = replace(targets, normalizers=normalizers)
            heads = self.model.decode(visual, hidden.mask_embeddings, fused, hidden.words)
            terms = self.model.criterion.segmentation(heads, targets, known, generator, plural)
        loss, parts = self.model.criterion.total(terms)
        return loss, {name: part.detach() for name, part in parts.items()}


def _seed_terms(
    scores: list[Tensor], mask_logits: Tensor, plural: Tensor, targets: Targets, normalizers: LossNormalizers
) -> dict[str, Tensor]:
    """Score and plural loss of one sample's seeds; scores (1, instructions, seeds) of each head."""
    instructions = targets.valid.shape[1]
    masks = mask_logits[:, None].expand(-1, instructions, -1, -1, -1)
    quality = proposal_quality(masks, targets.masks, targets.valid)[0]
    count = targets.valid[0].sum(-1)
    used = (count == 0) | (quality.amax(-1) >= MIN_QUALITY)
    total = torch.stack([choice_loss(score[0], quality, count) for score in scores]).sum(0)
    present = normalizers.present.clamp(min=1)
    return {
        "score": (total * used).sum() / normalizers.expressions,
        "plural": plural_loss(plural[0], count).sum() / present,
    }
