"""OVP's options for order: words as a set or in order, frames with or without their time. Off is as released."""

import dataclasses

import pytest
import tiny_model
import torch

from instructseg.conversion.released import with_released_behaviour
from instructseg.model.position import sine_order
from instructseg.model.references import nearest_references, time_order
from instructseg.types import Task

ORDERED = ("positions", "contextual")


def made(**perceiver):
    return tiny_model.build(perceiver_config=perceiver)


def clip_inputs(processor, *texts, frames=3, key=1):
    clip = [tiny_model.photo(seed=seed) for seed in range(frames)]
    return processor([clip], [list(texts)], [Task.RVOS], [key])


@torch.no_grad()
def tokens(model, inputs, times=True):
    visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values, 1)
    given = inputs.reference_times if times else None
    return model.perceive(visual, inputs.layout, inputs.reference_index, given)[0].unflatten(1, (-1, 3))


def test_off_is_the_default_and_adds_no_parameter():
    plain, _ = tiny_model.build()
    assert (plain.config.perceiver_config.word_order, plain.config.perceiver_config.frame_time) == ("none", False)
    assert not [name for name in plain.state_dict() if "word_position" in name or "time_projection" in name]
    released = with_released_behaviour(tiny_model.config(perceiver_config={"word_order": "positions",
                                                                           "frame_time": True}))  # fmt: skip
    assert (released.perceiver_config.word_order, released.perceiver_config.frame_time) == ("none", False)


def test_without_the_options_words_are_a_set_and_time_is_not_read():
    model, processor = tiny_model.build()
    one, other = (tokens(model, clip_inputs(processor, text)) for text in ("the red dog", "dog red the"))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    inputs = clip_inputs(processor, "the red dog")
    assert torch.equal(tokens(model, inputs), tokens(model, inputs, times=False))


@pytest.mark.parametrize("order", ORDERED)
def test_the_order_of_words_is_read(order):
    model, processor = made(word_order=order)
    one, other = (tokens(model, clip_inputs(processor, text)) for text in ("the red dog", "dog red the"))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("order", ORDERED)
def test_padding_and_other_instructions_are_not_read(order):
    model, processor = made(word_order=order)
    alone = tokens(model, clip_inputs(processor, "the red dog"))
    packed = tokens(model, clip_inputs(processor, "the red dog", "the big red cup left of the cat"))
    torch.testing.assert_close(packed[:1], alone, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(packed).all()


def test_contextual_words_are_the_language_models_own():
    """A word's state depends on the words before it, not on those after it."""
    model, processor = made(word_order="contextual")
    layouts = [clip_inputs(processor, text).layout for text in ("the red dog", "the red cat")]
    with torch.no_grad():
        states = [model._contextual(model.get_input_embeddings()(each.word_ids), each.word_mask) for each in layouts]
        alone = model.language_model(inputs_embeds=model.get_input_embeddings()(layouts[0].word_ids[0]))
    torch.testing.assert_close(states[0][0], alone.last_hidden_state, atol=1e-5, rtol=1e-5)
    assert torch.equal(states[0][0, 0, :2], states[1][0, 0, :2]) and (states[0] - states[1])[0, 0, 2].abs().max() > 1e-3


def test_a_frames_time_is_added_to_its_tokens():
    model, processor = made(frame_time=True)
    inputs = clip_inputs(processor, "the dog", frames=4, key=1)
    assert inputs.reference_times.tolist() == [[-1, 1, 2]]
    added = tokens(model, inputs) - tokens(model, inputs, times=False)
    with torch.no_grad():
        expected = model.perceiver.time_projection(sine_order(torch.tensor([-1, 1, 2]), 64))
    torch.testing.assert_close(added, expected[None, :, None].expand_as(added), atol=1e-5, rtol=1e-4)
    assert min((expected[first] - expected[second]).abs().max() for first, second in ((0, 1), (1, 2))) > 1e-3


def test_a_clip_played_backwards_is_another_clip():
    """The references before the key frame come after it: only a model that reads time tells the two apart by OVP."""
    model, processor = made(frame_time=True)
    inputs = clip_inputs(processor, "the dog", frames=3, key=1)
    backwards = dataclasses.replace(inputs, reference_times=-inputs.reference_times)
    with torch.no_grad():
        change = model(**inputs.model_kwargs).mask_logits - model(**backwards.model_kwargs).mask_logits
    assert change.abs().max() > 1e-4


def test_a_photo_has_no_time():
    model, processor = made(frame_time=True)
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog"]))
    assert inputs.reference_times.tolist() == [[0]]
    assert torch.equal(tokens(model, inputs), tokens(model, inputs, times=False))


@pytest.mark.parametrize("length, count", [(2, 4), (5, 4), (12, 4), (12, 8)])
def test_time_order(length, count):
    for key in range(length):
        frames = nearest_references(key, count, length)
        assert time_order(frames, key) == [frame - key for frame in frames], "neighbours: the distance"
    assert time_order([40, 3, 11, 7], 11) == [1, -2, 0, -1], "order, not distance"


def test_sine_order_tells_numbers_apart():
    encoded = sine_order(torch.arange(-20, 513), 64)
    distance = torch.cdist(encoded, encoded) + 10 * torch.eye(len(encoded))
    assert not encoded[20].any() and distance.min() > 0.1
