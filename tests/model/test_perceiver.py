"""The Object-aware Video Perceiver as it starts: frames must be told apart before anything is learned."""

import tiny_model
import torch

from instructseg.model.auxiliary_heads import LocalizationHead


@torch.no_grad()
def test_a_few_cells_that_change_are_seen_in_a_fresh_models_tokens():
    """Frames alike but for three cells of 144. With latents of scale 1 read evenly this ratio was 0.02."""
    model, _ = tiny_model.build()
    width = model.perceiver.latents.shape[1]
    generator = torch.Generator().manual_seed(0)
    frames = 0.07 * torch.randn(1, 1, 144, width, generator=generator).repeat(1, 4, 1, 1)
    for frame in range(4):
        frames[0, frame, 20 + 3 * frame : 23 + 3 * frame] = 0.07 * torch.randn(3, width, generator=generator)
    words = 0.1 * torch.randn(1, 1, 6, width, generator=generator)
    tokens = model.perceiver(frames, words, torch.ones(1, 1, 6, dtype=torch.bool))[0, 0]
    assert tokens.std(0).mean() > 0.06 * tokens.std(1).mean()


def test_the_locator_learns_where_its_tokens_say():
    torch.manual_seed(0)
    locator, tokens = LocalizationHead(3, 16), torch.randn(5, 3, 16)
    wanted = torch.zeros(5, LocalizationHead.CELLS, LocalizationHead.CELLS)
    for frame in range(5):
        wanted[frame, 2 * frame : 2 * frame + 3, 1:4] = 1
    optimizer = torch.optim.Adam(locator.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(locator(tokens), wanted).backward()
        optimizer.step()
    assert ((locator(tokens) > 0) == (wanted > 0)).float().mean() > 0.99
