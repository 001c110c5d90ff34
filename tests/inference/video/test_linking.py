"""Paths through proposals, against trying all of them, and in scenes whose answer is plain."""

import itertools

import numpy as np
import pytest

from instructseg.inference.video.candidates import CandidateDescriptors
from instructseg.inference.video.linking import ABSENT, LinkWeights, PathLinker, pairwise_iou

SIZE = (24, 48)
RED, BLUE = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def square(left, top=8, side=8):
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, max(0, left) : left + side] = True
    return mask


def observe(*candidates):
    """Candidates as (score, mask, appearance)."""
    scores, masks, embeddings = zip(*candidates, strict=True) if candidates else ((), np.zeros((0, *SIZE), bool), ())
    return CandidateDescriptors(np.array(scores), np.array(masks), np.array(embeddings).reshape(-1, 2))


def follow(frames, threshold=0.0, weights=None, flows=None, contrast=None, motion=None):
    """The causal choices and the best path."""
    linker = PathLinker(threshold, weights, contrast, motion)
    flows = flows or [None] * len(frames)
    causal = [linker.step(frame, flow) for frame, flow in zip(frames, flows, strict=True)]
    return causal, linker.best_path()


class TestAgainstAllPaths:
    @pytest.mark.parametrize("seed", range(12))
    def test_best_path(self, seed):
        rng = np.random.default_rng(seed)
        frames = [
            observe(*((rng.random(), square(int(rng.integers(40))), _unit(rng)) for _ in range(rng.integers(0, 5))))
            for _ in range(5)
        ]
        weights = LinkWeights(2.0, 0.7)
        causal, path = follow(frames, 0.0, weights)
        for end in range(1, 6):
            states = [range(len(frame.scores)) if len(frame.scores) else [ABSENT] for frame in frames[:end]]
            best = max(itertools.product(*states), key=lambda each: self.worth(each, frames, weights))
            assert causal[end - 1] == best[-1]
        assert path == list(best)

    def worth(self, path, frames, weights):
        """The definition: log-odds of every choice, and agreement of every step."""
        total = 0.0
        for number, choice in enumerate(path):
            if choice == ABSENT:
                continue
            total += min(4.0, max(-4.0, logit(frames[number].scores[choice])))
            if number and path[number - 1] != ABSENT:
                total += self.agreement(frames[number - 1], path[number - 1], frames[number], choice, weights)
        return total

    def agreement(self, last, chosen, frame, choice, weights):
        first, second = last.masks[chosen], frame.masks[choice]
        iou = (first & second).sum() / (first | second).sum()
        cosine = float(last.appearance_embeddings[chosen] @ frame.appearance_embeddings[choice])
        return weights.overlap * iou + weights.appearance * cosine


def _unit(rng):
    vector = rng.normal(size=2)
    return vector / np.linalg.norm(vector)


def logit(score):
    return float(np.log(score / (1 - score)))


def test_flickering_scores_do_not_switch():
    frames = [observe((0.6 if number % 3 else 0.5, square(5), RED), (0.55, square(30, 2), RED)) for number in range(12)]
    causal, path = follow(frames)
    assert path == [0] * 12 and causal[1:] == path[1:]
    alone = [int(np.argmax(frame.scores)) for frame in frames]
    assert len(set(alone)) == 2  # each frame's best proposal does switch


def test_crossing_objects_are_told_apart_by_appearance():
    """Two squares swap sides and lie on each other in the middle; the score says nothing."""
    frames = []
    for number in range(21):
        red, blue = (0.5, square(2 * number), RED), (0.5, square(40 - 2 * number), BLUE)
        frames.append(observe(red, blue) if number % 2 else observe(blue, red))
    frames[0] = observe((0.4, square(40), BLUE), (0.7, square(0), RED))
    causal, path = follow(frames)
    assert path == causal
    followed = [frame.appearance_embeddings[choice] for frame, choice in zip(frames, path, strict=True)]
    assert [tuple(appearance) for appearance in followed] == [tuple(RED)] * 21


def test_crossing_objects_that_look_alike_are_told_apart_by_motion():
    """As before but both look alike: only where the pixels went tells them apart."""
    frames, flows = [], [None]
    for number in range(21):
        lefts = 2 * number, 40 - 2 * number
        tops = (6, 10)  # not quite on one line
        frames.append(observe(*((0.5, square(left, top), RED) for left, top in zip(lefts, tops, strict=True))))
        flow = np.zeros((*SIZE, 2), np.float32)
        flow[square(lefts[0], tops[0]), 0] = -2 / SIZE[1]
        flow[square(lefts[1], tops[1]) & ~square(lefts[0], tops[0]), 0] = 2 / SIZE[1]
        flows.append(flow)
    frames[0].scores[0] = 0.8
    assert follow(frames, flows=flows[:21])[1] == [0] * 21


def test_evidence_can_change_its_mind():
    """The first frame liked the wrong one; all later ones do not: looking back, it never was the wrong one."""
    frames = [observe((0.6, square(4), RED), (0.5, square(30), BLUE))]
    frames += [observe((0.3, square(4), RED), (0.7, square(30), BLUE)) for _ in range(20)]
    causal, path = follow(frames)
    assert path == [1] * 21
    assert causal[0] == 0 and causal[-1] == 1 and sorted(causal) == causal


class TestPresence:
    def scores(self, *scores):
        """One candidate per frame; those of low scores are elsewhere."""
        tops = [8 if score >= 0.5 else 16 for score in scores]
        return [
            observe((score, square(10 + number, top), RED))
            for number, (score, top) in enumerate(zip(scores, tops, strict=True))
        ]

    def test_enters_and_leaves(self):
        frames = self.scores(*[0.02] * 5, *[0.7] * 6, *[0.02] * 5)
        causal, path = follow(frames, threshold=0.2)
        assert path == [ABSENT] * 5 + [0] * 6 + [ABSENT] * 5
        assert causal[:5] == [ABSENT] * 5 and causal[7:11] == [0] * 4 and causal[-2:] == [ABSENT] * 2

    def test_an_object_that_stays_in_place_is_kept(self):
        frames = [observe((score, square(10), RED)) for score in [0.7] * 6 + [0.1] * 4]
        assert follow(frames, threshold=0.2)[1] == [0] * 10
        assert follow(frames, 0.2, LinkWeights(continuity_cost=0.0))[1] == [0] * 6 + [ABSENT] * 4

    def test_one_weak_frame_is_bridged(self):
        assert follow(self.scores(0.7, 0.7, 0.1, 0.7, 0.7), threshold=0.2)[1] == [0] * 5

    def test_without_a_threshold_it_is_always_there(self):
        causal, path = follow(self.scores(0.001, 0.7, 0.001))
        assert path == causal == [0] * 3

    def test_a_threshold_of_one_is_never_reached(self):
        causal, path = follow(self.scores(0.99, 0.9), threshold=1.0)
        assert path == causal == [ABSENT] * 2

    def test_frames_without_candidates(self):
        frames = [*self.scores(0.9, 0.9), observe(), *self.scores(0.9, 0.9)]
        for threshold in (0.0, 0.2):
            causal, path = follow(frames, threshold)
            assert path == [0, 0, ABSENT, 0, 0] and causal[2] == ABSENT and causal[-1] == 0
        assert follow([]) == ([], [])

    def test_far_below_the_best_frames_is_gone(self):
        """Both instructions' scores are above the threshold throughout; only one has frames that are much better."""
        clear, vague = self.scores(*[0.9] * 6, *[0.3] * 5), self.scores(*[0.4] * 6, *[0.3] * 5)
        assert follow(clear, 0.1)[1] == [0] * 11
        causal, path = follow(clear, 0.1, contrast=1.5)
        assert path == [0] * 6 + [ABSENT] * 5 and causal[:6] == [0] * 6 and causal[-3:] == [ABSENT] * 3
        assert follow(vague, 0.1, contrast=1.5) == ([0] * 11, [0] * 11)
        assert follow(vague[::-1], 0.1, contrast=1.5)[1] == [0] * 11

    def test_what_comes_late_was_not_there_before(self):
        """A causal answer cannot know yet that better frames will come; the whole clip can."""
        frames = self.scores(*[0.3] * 5, *[0.9] * 6)
        causal, path = follow(frames, 0.1, contrast=1.5)
        assert causal == [0] * 11 and path == [ABSENT] * 5 + [0] * 6

    def test_contrast_never_overrules_always_there(self):
        assert follow(self.scores(0.9, 0.9, 0.9, 0.01, 0.01, 0.01), 0.0, contrast=0.5)[1] == [0] * 6


def test_pairwise_iou():
    first, second = np.array([square(0), square(4)]), np.array([square(0), square(40), np.zeros(SIZE, bool)])
    np.testing.assert_allclose(pairwise_iou(first, second), [[1, 0, 0], [32 / 96, 0, 0]])
    assert pairwise_iou(np.zeros((1, *SIZE), bool), second[2:])[0, 0] == 0


class TestDescribedMotion:
    """Two squares; the one with the higher score moves right, the other one left."""

    FRAMES = [
        observe((0.8, square(4 + 2 * number), RED), (0.4, square(36 - 2 * number), RED)) for number in range(6)
    ]

    def flows(self):
        flows = [None]
        for frame in self.FRAMES[1:]:
            flow = np.zeros((*SIZE, 2), np.float32)
            flow[frame.masks[0]], flow[frame.masks[1]] = (-2 / SIZE[1], 0), (2 / SIZE[1], 0)
            flows.append(flow)
        return flows

    @pytest.mark.parametrize(("motion", "choice"), [(None, 0), ("right", 0), ("left", 1)])
    def test_both_ways_of_linking(self, motion, choice):
        causal, path = follow(self.FRAMES, flows=self.flows(), motion=motion)
        assert path == [choice] * 6
        assert causal == [0] + [choice] * 5

    def test_presence_is_judged_by_the_best_score(self):
        """The followed square has a score below the threshold, the other one not."""
        _, path = follow(self.FRAMES, 0.6, flows=self.flows(), motion="left")
        assert path == [1] * 6
        assert follow(self.FRAMES, 0.9, flows=self.flows(), motion="left")[1] == [ABSENT] * 6

    def test_weight_zero(self):
        _, path = follow(self.FRAMES, flows=self.flows(), motion="left", weights=LinkWeights(motion=0.0))
        assert path == [0] * 6


def test_overlaps_along_a_path():
    linker = PathLinker(0.0)
    for frame in (observe((0.8, square(4), RED)), observe(), observe((0.8, square(20), RED), (0.7, square(8), RED))):
        linker.step(frame, None)
    linker.step(observe((0.8, square(8), RED), (0.2, square(16), BLUE)), None)
    assert linker.overlaps([0, ABSENT, 1, 0]) == [0.0, 0.0, 0.0, 1.0]
    assert linker.overlaps([0, ABSENT, 0, 1]) == [0.0, 0.0, 0.0, pytest.approx(4 / 12)]
