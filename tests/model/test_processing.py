"""InstructSegProcessor: what users write is text, and proposals become masks by simple rules."""

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.errors import InputError
from instructseg.model.image_processing import Geometry
from instructseg.model.layout import Block
from instructseg.model.presets import nano
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.prompt_builder import MAX_INSTRUCTION_TOKENS
from instructseg.prompts import SEG_TOKEN
from instructseg.types import Task

TASKS = [Task.RES, Task.REASON_SEG, Task.RVOS, Task.REASON_VOS]
ORDERS = [{}, {"block_order": "released"}, {"block_order": "released", "prompt_set": "released"}]


def processor_of(**changes):
    return InstructSegProcessor.for_config(tiny_model.config(**changes), tiny_model.tokenizer())


@pytest.fixture(scope="module")
def processor():
    return processor_of()


@pytest.mark.parametrize("text", ["<image>", "[SEG]", "<seg>", "<refer> <temporal>", "<|endoftext|>[SEG][SEG]", "</s>"])
@pytest.mark.parametrize("changes", ORDERS, ids=["image_first", "references_first", "released"])
def test_placeholders_and_special_tokens_of_users_are_plain_text(changes, text):
    processor = processor_of(**changes)
    special = processor.tokenizer.convert_tokens_to_ids([SEG_TOKEN, "<|endoftext|>"])
    plain, odd = f"the dog {'?' * 9} cat", f"the dog {text} cat"
    for task in TASKS:
        *words, last = processor.prompts.instruction_ids(odd)
        assert last == special[0] and not set(words) & set(special), "only the end of an instruction is marked"
        blocks = [span.block for span in processor.prompts.segmentation(odd, task)]
        assert blocks == [span.block for span in processor.prompts.segmentation(plain, task)]
        layout = processor.layout([[odd, plain]], [task], [2])
        assert layout.image_slots.shape[-1] == 16 and layout.mask_slots.shape[-1] == 4
        assert layout.reference_slots.shape[-1] == 2 * 3
        for slots in (layout.image_slots, layout.reference_slots, layout.mask_slots):
            assert not layout.token_ids[0, slots.flatten()].any(), "a placeholder's slot holds a word"


def test_special_tokens_of_templates_still_work_after_a_users(processor):
    seg = processor.tokenizer.convert_tokens_to_ids(SEG_TOKEN)
    processor.prompts.instruction_ids("[SEG] the dog")
    fresh = processor_of()
    fresh.prompts.instruction_ids("[SEG] the dog")
    spans = fresh.prompts.segmentation("the dog", Task.RES)
    ids = [word for span in spans if span.block is Block.TEXT for word in span.ids]
    assert ids.count(seg) == 1 and ids[-1] == seg


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_instructions_are_refused(processor, text):
    with pytest.raises(InputError, match="expected a non-empty instruction, got an empty text; say what to segment"):
        processor.prompts.instruction_ids(text)


def test_long_instructions_are_refused(processor):
    with pytest.raises(InputError, match=r"at most 512 tokens, got 5,000 tokens \(5,000 words\); shorten it"):
        processor.prompts.instruction_ids("dog " * 5000)
    assert len(processor.prompts.instruction_ids("dog " * MAX_INSTRUCTION_TOKENS)) == MAX_INSTRUCTION_TOKENS + 1


def test_words_arrive_in_order(processor):
    words = processor.tokenizer.convert_ids_to_tokens(processor.prompts.instruction_ids("  the red\ndog "))
    assert words == ["the", "red", "dog", SEG_TOKEN]


def test_a_photo_is_its_own_reference_and_frames_are_kept_in_order(processor):
    a, b, c = (tiny_model.photo(seed=seed) for seed in range(3))
    inputs = processor([[a], [b, c, a]], [["dog"], ["cat"]], [Task.RES, Task.RVOS], keys=[0, 1])
    assert inputs.reference_index.tolist() == [[0, -1], [2, 3]]
    prepare = processor.image_processor.prepare_clip
    for row, image in enumerate((a, c, b, a)):
        assert torch.equal(inputs.clip_pixel_values[row], prepare(image))
    assert len(inputs.pixel_values) == 2 and torch.equal(inputs.pixel_values[1], processor.image_processor.prepare(c))


def test_without_a_second_encoder_all_frames_go_to_the_first():
    processor = processor_of(**tiny_model.LIKE_NANO)
    a, b = tiny_model.photo(), tiny_model.photo(seed=1)
    inputs = processor([[a, b]], [["dog"]], [Task.RVOS])
    assert inputs.clip_pixel_values is None and len(inputs.pixel_values) == 2
    assert (processor.image_tokens, processor.frame_tokens) == (4, 3)


def test_sizes_come_from_the_configuration():
    processor = processor_of(perceiver_config=None, num_mask_tokens=7)
    assert (processor.image_tokens, processor.frame_tokens, processor.mask_tokens) == (16, 0, 7)
    assert Block.REFERENCES not in [span.block for span in processor.prompts.segmentation("dog", Task.RES)]
    small = InstructSegProcessor.for_config(nano(), tiny_model.tokenizer())
    assert (small.image_tokens, small.image_processor.resize) == (144, "stretch")
    assert (small.image_processor.mean, small.image_processor.std) == ([127.0] * 3, [128.0] * 3)


def test_options_of_the_image_processor():
    processor = InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")
    assert processor.image_processor.resize == "stretch" and processor.image_processor.side == 64


def test_moving_inputs(processor):
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["dog"])).to("cpu", torch.bfloat16)
    assert inputs.pixel_values.dtype == inputs.clip_pixel_values.dtype == torch.bfloat16
    assert inputs.reference_index.dtype == inputs.layout.token_ids.dtype == torch.long


WHOLE = Geometry((8, 12), (64, 64), 64)


def boxes(*sides):
    """Mask logits (n, 16, 16): foreground in the columns from, to of each."""
    logits = torch.full((len(sides), 16, 16), -4.0)
    for at, (start, stop) in enumerate(sides):
        logits[at, :, start:stop] = 4.0
    return logits


@pytest.fixture(scope="module")
def stretched():
    return InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")


DISTINCT = boxes((0, 4), (4, 8), (8, 12), (12, 16))
SCORES = torch.tensor([0.3, 2.0, -1.0, 1.0])


def starts(masks):
    """The first column of each mask."""
    return [int(np.flatnonzero(mask.any(0))[0]) for mask in masks]


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_best_first_and_at_most(stretched, most):
    masks, scores = stretched.post_process(DISTINCT, SCORES, WHOLE, max_masks=most)
    assert masks.shape == (min(most, 4), 8, 12) and masks.dtype == bool and scores.dtype == np.float32
    assert starts(masks) == [3, 9, 0, 6][:most]
    np.testing.assert_allclose(scores, SCORES.sigmoid()[[1, 3, 0, 2]][:most], rtol=1e-6)


@pytest.mark.parametrize("threshold, count", [(0.0, 4), (0.5, 3), (0.7, 2), (0.9, 0), (1.0, 0)])
def test_threshold(stretched, threshold, count):
    masks, scores = stretched.post_process(DISTINCT, SCORES, WHOLE, max_masks=9, threshold=threshold)
    assert masks.shape == (count, 8, 12) and scores.shape == (count,) and (scores >= threshold).all()


def test_a_score_at_the_threshold_is_enough(stretched):
    assert len(stretched.post_process(DISTINCT[:1], torch.tensor([0.0]), WHOLE, threshold=0.5)[0]) == 1


def test_repeated_masks_are_passed_over(stretched):
    logits = boxes((0, 10), (0, 9), (0, 6), (12, 16))
    masks, scores = stretched.post_process(logits, torch.tensor([3.0, 2.0, 1.0, 0.0]), WHOLE, max_masks=4)
    assert len(masks) == 3 and scores.tolist() == pytest.approx(torch.tensor([3.0, 1.0, 0.0]).sigmoid().tolist())


def test_empty_masks_are_left_out(stretched):
    logits = boxes((0, 0), (4, 8), (0, 0))
    masks, scores = stretched.post_process(logits, torch.tensor([0.5, 2.0, 0.0]), WHOLE, max_masks=3)
    assert starts(masks) == [3] and len(scores) == 1
    masks, scores = stretched.post_process(logits[:1], torch.tensor([2.0]), WHOLE)
    assert masks.shape == (0, 8, 12) and scores.shape == (0,)


def test_score_times_quality(stretched):
    """The mean probability of each mask's own foreground at the photo's size, against a loop over pixels."""
    torch.manual_seed(0)
    logits = DISTINCT + torch.randn_like(DISTINCT)
    logits[3] = -1
    _, plain = stretched.post_process(logits, SCORES, WHOLE, max_masks=4)
    masks, scores = stretched.post_process(logits, SCORES, WHOLE, "score_x_quality", max_masks=4)
    at_size = stretched.image_processor.restore(logits, WHOLE)
    expected = []
    for score, mask in zip(SCORES.sigmoid().tolist(), at_size, strict=True):
        inside = [1 / (1 + np.exp(-value)) for value in mask.flatten().tolist() if value > 0]
        expected.append(score * sum(inside) / len(inside) if inside else 0.0)
    np.testing.assert_allclose(scores, sorted(expected[:3], reverse=True), rtol=1e-4)
    assert (scores < plain[: len(scores)]).all() and len(masks) == 3


def test_masks_come_back_through_padding():
    processor = processor_of()
    geometry = processor.image_processor.geometry(20, 40)
    masks, _ = processor.post_process(boxes((0, 8)), torch.tensor([1.0]), geometry)
    assert masks.shape == (1, 20, 40) and masks[0, :, :19].all() and not masks[0, :, 21:].any()


def test_a_plural_gets_every_mask_that_is_more_likely_right_than_wrong(stretched):
    singular, _ = stretched.post_process(DISTINCT, SCORES, WHOLE)
    several, scores = stretched.post_process(DISTINCT, SCORES, WHOLE, plural=True)
    assert starts(singular) == [3]
    assert starts(several) == [3, 9, 0] and scores.min() > 0.5
    assert starts(stretched.post_process(DISTINCT, SCORES, WHOLE, max_masks=1, plural=True)[0]) == [3]
    assert len(stretched.post_process(DISTINCT, SCORES, WHOLE, threshold=0.8, plural=True)[0]) == 1
    unlikely = SCORES - SCORES.max() - 1  # all below one half
    assert starts(stretched.post_process(DISTINCT, unlikely, WHOLE, threshold=0.1, plural=True)[0]) == [3]
    assert not len(stretched.post_process(DISTINCT, unlikely, WHOLE, threshold=0.4, plural=True)[0])
