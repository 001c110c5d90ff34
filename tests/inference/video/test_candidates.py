"""Appearance embeddings against their definition; the ranking of candidates is tested in test_video_engine."""

import numpy as np
import torch

from instructseg.inference.video.candidates import appearance_embeddings
from instructseg.model.segmentation_decoder import PixelFeatures


def test_appearance_embeddings_are_the_masks_mean_less_the_frames():
    level = torch.randn(1, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    cells = torch.zeros(2, 3, 4, dtype=torch.bool)
    cells[0, :2, 1:3] = True
    cells[1, 2] = True
    masks = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)  # the decoder's grid is twice as fine
    embeddings = appearance_embeddings(masks, PixelFeatures(torch.zeros(1, 2, 6, 8), (torch.zeros(1, 5, 1, 1), level)))
    for embedding, inside in zip(embeddings, cells, strict=True):
        expected = level[0][:, inside].mean(1) - level[0].flatten(1).mean(1)
        np.testing.assert_allclose(embedding, expected / expected.norm(), atol=1e-5)


def test_appearance_embeddings_of_no_masks_and_of_an_empty_one():
    pixels = PixelFeatures(torch.zeros(1, 2, 6, 8), (torch.randn(1, 5, 3, 4),))
    assert appearance_embeddings(torch.zeros(0, 6, 8, dtype=torch.bool), pixels).shape == (0, 5)
    assert np.isfinite(appearance_embeddings(torch.zeros(1, 6, 8, dtype=torch.bool), pixels)).all()
