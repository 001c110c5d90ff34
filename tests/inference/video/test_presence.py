"""The two-state Viterbi decoder against every possible state sequence; its paths through clips: test_linking."""

import itertools

import numpy as np
import pytest

from instructseg.inference.video.presence import PresenceViterbi


def logit(score):
    return float(np.log(score / (1 - score)))


@pytest.mark.parametrize("contrast", [None, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(10))
def test_against_all_state_sequences(seed, contrast):
    rng = np.random.default_rng(seed)
    scores = [None if rng.random() < 0.2 else float(rng.random()) for _ in range(6)]
    overlaps = [float(rng.random()) for _ in scores]
    presence = PresenceViterbi(0.4, 1.3, contrast, continuity_cost=0.7)
    online = [presence.step(*frame) for frame in zip(scores, overlaps, strict=True)]

    def decision_threshold(frames):
        odds = sorted(logit(score) for score in frames if score is not None)
        best = odds[round(0.9 * (len(odds) - 1))] if odds else 0.0
        return max(logit(0.4), best - contrast) if contrast and odds else logit(0.4)

    def path_score(states):
        emissions = [-4 if score is None else logit(score) - level for score, level in zip(scores, levels, strict=True)]
        total = sum(max(-4, min(4, each)) for each, present in zip(emissions, states, strict=False) if present)
        changes = [one != other for one, other in itertools.pairwise(states)]
        return total - sum(
            change * (1.3 + 0.7 * overlap) for change, overlap in zip(changes, overlaps[1:], strict=False)
        )

    levels = [decision_threshold(scores[:end]) for end in range(1, 7)]  # known when each frame was decoded
    for end in range(1, 7):
        best = max(itertools.product([False, True], repeat=end), key=path_score)
        assert online[end - 1] == (best[-1] and scores[end - 1] is not None)
    levels = [decision_threshold(scores)] * 6
    best = max(itertools.product([False, True], repeat=6), key=path_score)
    expected = [present and score is not None for present, score in zip(best, scores, strict=True)]
    assert presence.best_path() == expected


def test_an_object_that_is_still_seen_has_not_left():
    """A frame of a low score in the middle of a clip, with and without the same object around it."""
    present = {}
    for overlap in (0.0, 0.9):
        presence = PresenceViterbi(0.5, 1.0, continuity_cost=8.0)
        for score in (0.9, 0.9, 0.02, 0.9, 0.9):
            presence.step(score, overlap)
        present[overlap] = presence.best_path()
    assert present[0.0] == [True, True, False, True, True]
    assert present[0.9] == [True] * 5
