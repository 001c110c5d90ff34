"""Gradient wiring: what should matter does, what should not does not, and every part learns."""

import dataclasses
import re

import pytest
import tiny_model
import torch

from instructseg.model.configuration import PerceiverConfig, TextFusionConfig
from instructseg.model.perceiver import ObjectAwareVideoPerceiver
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion
from instructseg.types import Task

# Parameters that rightly get no gradient, and why.
UNUSED = {
    r"lm_head\.": "no labelled text in a segmentation batch",
    r"vision_tokens\.encoder\.(vision_model\.)?(encoder\.layers\.1|post_layernorm)\.": "hidden_states[-2] is read",
    r"backbone\.(swin\.)?layernorm\.": "the backbone normalises each of its maps apart",
}
VARIANTS = {
    "tiny": {},
    "released_order": {"block_order": "released"},
    **tiny_model.VARIANTS,
}


def training_inputs(processor):
    clip = [tiny_model.photo(seed=seed) for seed in range(3)]
    return tiny_model.prepare(processor, (clip, ["the dog", "a big red cup"]), (clip[:1], ["zebra"]), task=Task.RVOS)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_parameter_learns(changes):
    model, processor = tiny_model.build(**changes)
    inputs = training_inputs(processor)
    model.train()
    generator = torch.Generator().manual_seed(0)
    model(**inputs.model_kwargs, targets=tiny_model.targets(inputs), generator=generator).loss.backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    unused = {name for name, _ in model.named_parameters() if any(re.match(pattern, name) for pattern in UNUSED)}
    assert silent == unused
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_labelled_text_teaches_the_language_model_and_its_head():
    model, processor = tiny_model.build()
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog"]))
    layout = inputs.layout
    labels = torch.where(layout.segments == 1, layout.token_ids, -100)
    inputs = dataclasses.replace(inputs, layout=dataclasses.replace(layout, labels=labels))
    output = model(**inputs.model_kwargs, targets=tiny_model.targets(inputs))
    with torch.no_grad():
        visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values)
        states = model.reason(layout, visual, model.perceive(visual, layout, inputs.reference_index)).hidden_states
        predicted = model.lm_head(states).log_softmax(-1)
    slow = [-predicted[0, at - 1, labels[0, at]] for at in range(1, layout.length) if labels[0, at] >= 0]
    assert len(slow) > 5
    torch.testing.assert_close(output.parts["text"], torch.stack(slow).mean())
    output.parts["text"].backward()
    assert model.lm_head.weight.grad.any() and model.get_input_embeddings().weight.grad.any()


@pytest.fixture(scope="module")
def tiny():
    return tiny_model.build()


def masks_and_scores(model, inputs):
    with torch.no_grad():
        output = model(**inputs.model_kwargs)
    return torch.cat([output.mask_logits.flatten(), output.score_logits.flatten()])


def test_words_and_pixels_change_the_answer(tiny):
    model, processor = tiny
    clip = [tiny_model.photo(seed=seed) for seed in range(2)]
    inputs = tiny_model.prepare(processor, (clip, ["the dog"]), task=Task.RVOS)
    base = masks_and_scores(model, inputs)
    others = {
        "words": tiny_model.prepare(processor, (clip, ["the cat"]), task=Task.RVOS),
        "task": tiny_model.prepare(processor, (clip, ["the dog"]), task=Task.REASON_VOS),
        "pixels": dataclasses.replace(inputs, pixel_values=inputs.pixel_values.flip(-1)),
    }
    for frame in range(2):  # of the key frame and of the reference frame
        changed = inputs.clip_pixel_values.clone()
        changed[frame] = changed[frame].flip(-1)
        others[f"clip frame {frame}"] = dataclasses.replace(inputs, clip_pixel_values=changed)
    assert {name: (masks_and_scores(model, each) - base).abs().max() > 1e-3 for name, each in others.items()} == {
        name: True for name in others
    }


def test_every_pixel_and_word_of_the_inputs_is_felt(tiny):
    model, processor = tiny
    clip = [tiny_model.photo(64, 64, seed=seed) for seed in range(3)]
    inputs = tiny_model.prepare(processor, (clip, ["the big red dog"]), task=Task.RVOS)
    pixels, frames = inputs.pixel_values.requires_grad_(), inputs.clip_pixel_values.requires_grad_()
    words = model.get_input_embeddings()
    felt = []
    handle = words.register_forward_hook(lambda module, args, output: felt.append(output.requires_grad_()) or output)
    output = model(**inputs.model_kwargs)
    handle.remove()
    everything = (output.mask_logits * torch.randn_like(output.mask_logits)).sum() + output.score_logits.sum()
    gradients = torch.autograd.grad(everything, [pixels, frames, *felt])
    assert all(gradients[0][0].any(0).any(0)) and gradients[0].any(1).all()
    assert gradients[1].flatten(2).any(-1).all()
    ovp, sequence = gradients[2][0, 0], gradients[3][0]
    assert ovp.any(-1).all(), "the perceiver reads every word"
    assert sequence.any(-1)[inputs.layout.word_slots[0, 0]].all(), "the language model reads every word"


def test_instructions_of_one_photo_do_not_touch_each_other(tiny):
    model, processor = tiny
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog", "the big red cup", "zebra"]))
    felt = []
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: felt.append(output.requires_grad_()) or output
    )
    output = model(**inputs.model_kwargs)
    handle.remove()
    of_second = output.mask_logits[0, 1].sum() + output.score_logits[0, 1].sum()
    ovp, sequence = torch.autograd.grad(of_second, felt)
    assert ovp[0].flatten(1).any(-1).tolist() == [False, True, False]
    segments = inputs.layout.segments[0]
    assert [bool(sequence[0][segments == each].any()) for each in range(4)] == [True, False, True, False]


def slow_layer(layer, latents, media, own):
    """One cross-attention layer for one set of latents (n, dim) and media (m, dim), head by head."""
    normed = layer.norm_latents(latents)
    keys, values = layer.to_kv(
        torch.cat([layer.norm_media(media), normed] if own else [layer.norm_media(media)])
    ).chunk(2, 1)
    queries, heads = layer.to_q(normed), []
    for head in range(layer.num_heads):
        part = slice(head * layer.head_dim, (head + 1) * layer.head_dim)
        weights = (queries[:, part] @ keys[:, part].T / layer.head_dim**0.5).softmax(-1)
        heads.append(weights @ values[:, part])
    latents = latents + layer.to_out(torch.cat(heads, dim=1))
    return latents + layer.ffn(latents)


class TestPerceiver:
    """Frames (batch, time, patches, dim) and words (batch, instructions, words, dim)."""

    @pytest.fixture(params=[False, True], ids=["media_keys", "latents_in_keys"])
    def perceiver(self, request):
        torch.manual_seed(0)
        config = PerceiverConfig(num_latents=3, depth=2, num_heads=2, head_dim=8, latents_in_keys=request.param)
        perceiver = ObjectAwareVideoPerceiver(config, 16)
        torch.nn.init.normal_(perceiver.latents)
        return perceiver

    @pytest.fixture
    def media(self):
        generator = torch.Generator().manual_seed(0)
        frames = torch.randn(2, 3, 5, 16, generator=generator, requires_grad=True)
        words = torch.randn(2, 2, 4, 16, generator=generator, requires_grad=True)
        mask = torch.tensor([[[1, 1, 1, 1], [1, 1, 0, 0]], [[1, 1, 1, 0], [0, 0, 0, 0]]]).bool()
        return frames, words, mask

    def test_frames_do_not_see_each_other(self, perceiver, media):
        frames, words, mask = media
        tokens = perceiver(frames, words, mask)
        assert tokens.shape == (2, 2, 3, 3, 16)
        (gradient,) = torch.autograd.grad(tokens[:, :, 1].square().sum(), frames)
        assert gradient[:, 1].abs().sum((-1, -2)).all()
        assert not gradient[:, [0, 2]].any()

    def test_words_are_read_and_padding_is_not(self, perceiver, media):
        frames, words, mask = media
        (gradient,) = torch.autograd.grad(perceiver(frames, words, mask).square().sum(), words)
        assert torch.equal(gradient.any(-1), mask)

    def test_against_a_loop(self, perceiver, media):
        frames, words, mask = media
        tokens = perceiver(frames, words, mask)
        for row, asked, time in ((0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 0)):
            latents = perceiver.latents
            for layer in perceiver.layers:
                seen = torch.cat([frames[row, time], words[row, asked][mask[row, asked]]])
                latents = slow_layer(layer, latents, seen, own=perceiver.latents_in_keys)
            torch.testing.assert_close(tokens[row, asked, time], perceiver.norm(latents))

    def test_a_frame_alone_gives_the_same_tokens(self, perceiver, media):
        frames, words, mask = media
        tokens = perceiver(frames, words, mask)
        alone = perceiver(frames[1:, 2:], words[1:, :1, :3], mask[1:, :1, :3])
        torch.testing.assert_close(tokens[1, 0, 2], alone[0, 0, 0])


class TestTextFusion:
    """Whole numbers as word embeddings, so that sums, and with them the pooled mean, are exact."""

    @staticmethod
    def build(granularity):
        torch.manual_seed(0)
        config = TextFusionConfig(hidden_size=16, depth=2, num_heads=2, head_dim=8, granularity=granularity)
        return VisionGuidedMultiGranularityTextFusion(config, 12, 6, 10).double()

    @pytest.fixture
    def media(self):
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(-4, 5, (2, 5, 12), generator=generator).double()
        mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
        return words, mask, torch.randn(2, 6, 2, 3, generator=generator).double()

    @pytest.mark.parametrize("granularity", ["both", "detailed", "global"])
    def test_against_a_loop(self, granularity, media):
        fusion = self.build(granularity)
        words, mask, visual = media
        output = fusion(words, mask, visual)
        for row in range(2):
            details = words[row][mask[row]]
            pooled = details.mean(0, keepdim=True)
            queries = {"both": torch.cat([pooled, details]), "detailed": details, "global": pooled}[granularity]
            latents = fusion.text_projection(queries)
            seen = fusion.visual_projection(visual[row]).flatten(1).T
            for layer in fusion.layers:
                latents = slow_layer(layer, latents, seen, own=True)
            fused = fusion.norm(latents)
            fused = fused.mean(0) if granularity == "detailed" else fused[0]
            expected = fusion.output_projection(torch.cat([fusion.pooled_projection(pooled[0]), fused]))
            torch.testing.assert_close(output[row], expected)

    @pytest.mark.parametrize("granularity", ["both", "detailed"])
    def test_details_reach_the_output(self, granularity, media):
        fusion = self.build(granularity)
        words, mask, visual = media
        moved = words.clone()
        moved[:, 0] += 2
        moved[:, 1] -= 2
        assert torch.equal(moved.sum(1), words.sum(1))
        change = fusion(moved, mask, visual) - fusion(words, mask, visual)
        assert change.abs().amax(-1).min() > 1e-3
        gradient = torch.autograd.functional.jacobian(lambda x: fusion(x, mask, visual).sum(0), words)
        assert torch.equal(gradient.any(0).any(-1), mask)
        assert (gradient[:, :, 0] - gradient[:, :, 1]).abs().max() > 1e-3, "two details count alike, as if pooled"

    def test_of_global_granularity_only_the_mean_counts(self, media):
        fusion = self.build("global")
        words, mask, visual = media
        moved = words.clone()
        moved[:, 0] += 2
        moved[:, 1] -= 2
        assert torch.equal(fusion(moved, mask, visual), fusion(words, mask, visual))
        gradient = torch.autograd.functional.jacobian(lambda x: fusion(x, mask, visual).sum(0), words)
        assert torch.equal(gradient[:, :, 0], gradient[:, :, 1]) and gradient[:, :, 0].any()
        words[:, 0] += 2
        assert not torch.equal(fusion(moved, mask, visual), fusion(words, mask, visual))

    @pytest.mark.parametrize("granularity", ["both", "detailed", "global"])
    def test_vision_guides_and_padding_is_not_read(self, granularity, media):
        fusion = self.build(granularity)
        words, mask, visual = media
        base = fusion(words, mask, visual)
        assert (fusion(words, mask, visual.flip(1)) - base).abs().amax(-1).min() > 1e-3
        noisy = torch.where(mask[..., None], words, 7.0)
        torch.testing.assert_close(fusion(noisy, mask, visual), base)
        torch.testing.assert_close(fusion(words[1:, :2], mask[1:, :2], visual[1:]), base[1:])


@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_frozen_encoders_stay_in_eval_mode(changes):
    model, _ = tiny_model.build(**changes)
    model.train()
    assert all(module.training for module in model.modules())
    for encoder in model.encoders:
        encoder.requires_grad_(False)
    assert len(model.encoders) == (1 if model.config.vision_config is None else 2)
    model.train()
    frozen = {id(module) for encoder in model.encoders for module in encoder.modules()}
    assert all(module.training == (id(module) not in frozen) for module in model.modules())
    assert not any(module.training for module in model.eval().modules())
