"""What must not change the model's answer: company in a row or a batch, padding, caching, checkpointed activations."""

import dataclasses

import pytest
import tiny_model
import torch

from instructseg.types import Task

DOGS = ["the dog", "the big red cup left of the green cat", "zebra"]
KITES = ["which one can fly ?"]
ORDERS = {
    "image_first": {},
    "references_first": {"block_order": "released"},
    "released": {"block_order": "released", "prompt_set": "released"},
    **tiny_model.VARIANTS,
}


@pytest.fixture(scope="module", params=ORDERS.values(), ids=ORDERS)
def pair(request):
    return tiny_model.build(**request.param)


@pytest.fixture(scope="module")
def tiny():
    return tiny_model.build()


@torch.no_grad()
def run(model, inputs):
    return model(**inputs.model_kwargs)


def assert_same(output, row, column, single, tolerance=1e-5):
    """The answer at (row, column) equals the only answer of `single`."""
    torch.testing.assert_close(output.mask_logits[row, column], single.mask_logits[0, 0], atol=tolerance, rtol=1e-4)
    torch.testing.assert_close(output.score_logits[row, column], single.score_logits[0, 0], atol=tolerance, rtol=1e-4)


def test_answers_do_not_depend_on_company_in_row_and_batch(pair):
    model, processor = pair
    visuals = [([tiny_model.photo(40, 56)], DOGS), ([tiny_model.photo(61, 33, seed=1)], KITES)]
    together = run(model, tiny_model.prepare(processor, *visuals))
    assert together.mask_logits.shape == (2, 3, 4, 16, 16) and together.score_logits.shape == (2, 3, 4)
    alone = []
    for row, (frames, texts) in enumerate(visuals):
        for column, text in enumerate(texts):
            alone.append(run(model, tiny_model.prepare(processor, (frames, [text]))))
            assert_same(together, row, column, alone[-1])
    assert all((one.mask_logits - alone[0].mask_logits).abs().max() > 0.01 for one in alone[1:])


def test_what_targets_say_about_padding_changes_no_loss(tiny):
    model, processor = tiny
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], DOGS), ([tiny_model.photo(seed=1)], KITES))
    wanted = tiny_model.targets(inputs)
    masks, valid = wanted.masks.clone(), wanted.valid.clone()
    masks[~inputs.layout.expression_mask], valid[~inputs.layout.expression_mask] = 1, True
    located = wanted.localization.clone()
    located[~inputs.layout.expression_mask] = 1
    noisy = dataclasses.replace(wanted, masks=masks, valid=valid, localization=located)
    first, second = (
        model(**inputs.model_kwargs, targets=each, generator=torch.Generator().manual_seed(0))
        for each in (wanted, noisy)
    )
    assert first.parts.keys() == {
        "mask", "dice", "score", "text_to_pixel", "pixel_classification", "localization_head"
    }  # fmt: skip
    for name, value in first.parts.items():
        torch.testing.assert_close(value, second.parts[name])


def test_forward_is_its_stages_one_by_one(pair):
    model, processor = pair
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], DOGS), ([tiny_model.photo(seed=1)], KITES))
    whole = run(model, inputs)
    with torch.no_grad():
        visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values)
        references = model.perceive(visual, inputs.layout, inputs.reference_index)
        hidden = model.reason(inputs.layout, visual, references)
        heads = model.decode(visual, hidden.mask_embeddings, model.fuse(hidden, visual))
    assert len(heads) == model.config.decoder_config.decoder_layers + 1
    assert torch.equal(heads[-1].mask_logits, whole.mask_logits)
    assert torch.equal(heads[-1].score_logits, whole.score_logits)


@torch.no_grad()
def test_a_kept_image_and_a_kept_prefix_give_the_answers_of_forward(pair):
    """Asked one after the other and back again: what is kept must not be changed by using it."""
    model, processor = pair
    image = tiny_model.photo()
    inputs = tiny_model.prepare(processor, ([image], ["zebra"]))
    visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values)
    prefix, reference = model.read_prefix(inputs.layout, visual), torch.zeros(1, 1, dtype=torch.long)
    assert prefix.get_seq_length() == (inputs.layout.segments == 0).sum()
    for text in [*DOGS, DOGS[0]]:
        layout = processor.layout([[text]], [Task.RES], [1])
        expected = run(model, tiny_model.prepare(processor, ([image], [text])))
        assert_same(model.forward_from_features(visual, layout, reference), 0, 0, expected)
        assert_same(model.forward_from_features(visual, layout, reference, prefix=prefix), 0, 0, expected)
    layout = processor.layout([DOGS], [Task.RES], [1])
    packed = model.forward_from_features(visual, layout, reference, prefix=prefix)
    assert_same(packed, 0, 2, run(model, tiny_model.prepare(processor, ([image], DOGS[2:]))))


@torch.no_grad()
def test_what_is_remembered_of_the_images_gives_the_same_bits_and_is_not_computed_again(pair, monkeypatch):
    model, processor = pair
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], DOGS), ([tiny_model.photo(seed=1)], KITES))
    visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values)
    expected = model.forward_from_features(visual, inputs.layout, inputs.reference_index)
    remembered = model.remember(visual)
    readers = [part for part in (model.perceiver, model.text_fusion, model.mask_decoder) if part is not None]
    for part in readers:
        monkeypatch.setattr(part, "read", None)
    for layer in model.mask_decoder.layers:
        monkeypatch.setattr(layer, "read", None)
    again = model.forward_from_features(remembered, inputs.layout, inputs.reference_index)
    assert torch.equal(again.mask_logits, expected.mask_logits)
    assert torch.equal(again.score_logits, expected.score_logits)


@pytest.mark.parametrize("name", ["image_first", "references_first", "like_nano"])
def test_videos_with_different_counts_of_references(name):
    model, processor = tiny_model.build(**ORDERS[name])
    frames = [tiny_model.photo(seed=seed) for seed in range(7)]
    visuals = [(frames[:3], DOGS[:2]), (frames[3:5], DOGS), (frames[5:6], KITES)]
    inputs = tiny_model.prepare(processor, *visuals, task=Task.RVOS)
    assert inputs.reference_index.tolist() == [[3, 4], [5, -1], [2, -1]]
    together = run(model, inputs)
    for row, (clip, texts) in enumerate(visuals):
        for column, text in enumerate(texts):
            single = run(model, tiny_model.prepare(processor, (clip, [text]), task=Task.RVOS))
            assert_same(together, row, column, single)


def test_the_key_frame_may_be_any_frame(tiny):
    model, processor = tiny
    first, key, last = (tiny_model.photo(seed=seed) for seed in range(3))
    middle = processor([[first, key, last]], [DOGS], [Task.RVOS], keys=[1])
    leading = tiny_model.prepare(processor, ([key, first, last], DOGS), task=Task.RVOS)
    assert torch.equal(run(model, middle).mask_logits, run(model, leading).mask_logits)


def test_an_image_is_its_own_reference_frame(tiny):
    model, processor = tiny
    image = tiny_model.photo()
    alone = run(model, tiny_model.prepare(processor, ([image], DOGS)))
    twice = run(model, tiny_model.prepare(processor, ([image, image], DOGS)))
    torch.testing.assert_close(alone.mask_logits, twice.mask_logits, atol=1e-5, rtol=1e-4)
    other = run(model, tiny_model.prepare(processor, ([image, tiny_model.photo(seed=9)], DOGS)))
    assert (alone.mask_logits - other.mask_logits).abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore::FutureWarning")  # newer transformers have another name for it
@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_checkpointed_activations_give_the_same_loss_and_gradients(changes):
    model, processor = tiny_model.build(**changes)
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], DOGS[:2]))
    wanted = tiny_model.targets(inputs)
    model.train()

    def gradients():
        model.zero_grad()
        loss = model(**inputs.model_kwargs, targets=wanted, generator=torch.Generator().manual_seed(0)).loss
        loss.backward()
        return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    batch_norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in batch_norms:
        module.momentum = 0.0
    loss, plain = gradients()
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    again, checkpointed = gradients()
    torch.testing.assert_close(loss, again)
    torch.testing.assert_close(plain, checkpointed)
