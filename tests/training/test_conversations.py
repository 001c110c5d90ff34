"""Conversations: the loss of what the assistant says and of nothing else, whatever they are batched with."""

import mixed_world
import pytest
import tiny_model
import torch
from accelerate.state import AcceleratorState
from painted_world import found
from torch.nn.functional import cross_entropy

from instructseg.errors import DataError
from instructseg.model.layout import IGNORE, Block
from instructseg.model.losses import LossNormalizers, LossWeights
from instructseg.training import run as training
from instructseg.training.data.collate import Collator
from instructseg.training.logging.run_log import read_log
from instructseg.training.objective import Objective, use_loss
from instructseg.training.parameters import add_lora, choose_trainable
from instructseg.training.recipe import LoraRecipe, LossRecipe, load_recipe
from instructseg.types import Expression, Sample, Task

TURNS = (("what is the color ?", "the dog is red"), ("is there a cat", "there are cat and kite"), ("which", "green"))


def talk(turns, seed=0):
    asked = tuple(Expression(text, None, "conversation", answer=answer) for text, answer in turns)
    return Sample(f"talk/{seed}", Task.CHAT, (tiny_model.photo(seed=seed),), asked)


@pytest.fixture(params=[{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def made(request):
    model, processor = tiny_model.build(**request.param)
    add_lora(model, LoraRecipe(rank=2))
    groups = choose_trainable(model)
    use_loss(model, LossRecipe(weights=LossWeights(text=0.5)))
    return model, processor, groups


def slow_loss(model, processor, sample):
    """Summed cross-entropy of the answers' words and ends, the sequence put together by hand; and their number."""
    turns = [(turn.text, turn.answer) for turn in sample.expressions]
    image = processor.image_processor
    clip = image.prepare_clip(sample.image)[None] if image.clip_side else None
    seen = model.encode_tokens(image.prepare(sample.image)[None], clip)[0]
    words, labels = [], []
    for span in processor.prompts.conversation(turns):
        if span.block is Block.IMAGE:
            words.append(seen)
            labels += [IGNORE] * len(seen)
        else:
            words.append(model.get_input_embeddings()(torch.tensor(span.ids)))
            labels += span.labels or [IGNORE] * len(span.ids)
    states = model.language_model(inputs_embeds=torch.cat(words)[None]).last_hidden_state[0]
    logits = model.lm_head(states[:-1])
    known = [at for at, label in enumerate(labels[1:]) if label != IGNORE]
    return sum(cross_entropy(logits[at], torch.tensor(labels[at + 1])) for at in known), len(known)


def test_the_loss_is_of_the_answers_alone(made):
    model, processor, _ = made
    samples = [talk(TURNS[:1]), talk(TURNS, seed=1)]
    batch = Collator(processor)(samples)
    assert batch.targets is None
    loss, parts = Objective(model)(batch.inputs, None, batch.normalizers, 0)
    sums, counts = zip(*(slow_loss(model, processor, sample) for sample in samples), strict=True)
    assert batch.normalizers.labelled_tokens == sum(counts) == (4 + 1) + (4 + 1) + (5 + 1) + (1 + 1)
    torch.testing.assert_close(loss, 0.5 * sum(sums) / sum(counts), rtol=1e-5, atol=1e-6)
    assert parts.keys() == {"text"}


def test_pieces_add_up(made):
    model, processor, _ = made
    collate, samples = Collator(processor), [talk(TURNS[: 1 + seed % 3], seed) for seed in range(4)]
    whole = collate(samples)
    pieces = [collate(samples[:1]), collate(samples[1:])]
    counts = LossNormalizers(*sum(torch.stack(piece.normalizers) for piece in pieces))
    assert counts.labelled_tokens == whole.normalizers.labelled_tokens and counts.expressions == 4
    objective = Objective(model)
    once = objective(whole.inputs, None, whole.normalizers, 0)[0]
    added = sum(objective(piece.inputs, None, counts, 0)[0] for piece in pieces)
    torch.testing.assert_close(added, once, rtol=1e-5, atol=1e-6)


def test_what_learns_from_a_conversation(made):
    model, processor, groups = made
    batch = Collator(processor)([talk(TURNS)])
    model.train()
    Objective(model)(batch.inputs, None, batch.normalizers, 0)[0].backward()
    reached = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
    assert {name for name in groups["lora"] if "lora_B" in name} <= reached
    assert {name.split(".")[0] for name in reached} == {"language_model", "vision_tokens"}


def test_turns_that_do_not_fit_are_left_out(made):
    _, processor, _ = made
    full = Collator(processor)([talk(TURNS)]).inputs.layout.length
    two = Collator(processor)([talk(TURNS[:2])]).inputs.layout.length
    assert Collator(processor, max_tokens=full)([talk(TURNS)]).inputs.layout.length == full
    assert Collator(processor, max_tokens=full - 1)([talk(TURNS)]).inputs.layout.length == two
    with pytest.raises(
        DataError, match=r"talk/7: the photo and the first turn take \d+ tokens, more than data\.max_tokens = 9"
    ):
        Collator(processor, max_tokens=9)([talk(TURNS, seed=7)])


def test_a_run_on_photos_clips_and_conversations(tmp_path):
    world = found(tmp_path)
    mixed_world.write_talk(world)
    mixed_world.write_clips(world)
    sources = (
        "[{name: composed, ratio: 2}, {name: ref_youtube_vos}, {name: llava_instruct, split: llava_instruct_150k}]"
    )
    AcceleratorState._reset_state(True)
    overrides = [f"data.sources={sources}", f"output={tmp_path / 'out'}", "steps=12", "validate_every=1000"]
    run = training.Run(load_recipe(world / "recipe.yaml", overrides))
    before = {name: parameter.detach().clone() for name, parameter in run.trained.items()}
    run.train()
    (line,) = [line for line in read_log(tmp_path / "out" / "log.jsonl") if "losses" in line]
    assert {"mask", "dice", "score", "text", "total"} <= line["losses"].keys()
    assert 3 < line["losses"]["text"] < 9, "near ln 512 for random weights, mean over the batches that have it"
    moved = {name for name in before if not torch.equal(before[name], run.average.shadow[list(before).index(name)])}
    assert len(moved) > 0.9 * len(before)
