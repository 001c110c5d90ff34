"""Explanations with their masks and conversations of several turns: the cache changes nothing in them."""

import json
import warnings
from dataclasses import replace

import pytest
import tiny_model
import torch

from instructseg.errors import InputError
from instructseg.inference.explanation import ExplainedPrediction, explain
from instructseg.inference.segmenter import Segmenter
from instructseg.model.layout import Block, PromptSpan, build_layout
from instructseg.types import Task

WAYS = {
    "clip encoder": {},
    "one encoder": tiny_model.LIKE_NANO,
    "released": {"prompt_set": "released", "block_order": "released"},
    "no perceiver": {"perceiver_config": None},
}
QUESTION, TASK = "what can fly ?", Task.REASON_SEG


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def segmenter(request):
    """Random weights mostly write tokens that the small tokenizer has no words for: texts are compared by their ids."""
    model, processor = tiny_model.build(**request.param)
    processor.tokenizer.decode = lambda words, **_: " ".join(map(str, words))
    return Segmenter(model, processor)


def visual_of(segmenter):
    with torch.no_grad():
        return segmenter.model.encode_image(*segmenter.open(tiny_model.photo())._pixels())


@pytest.mark.parametrize("task", [Task.RES, Task.REASON_SEG])
def test_generation_continues_the_prompt_of_training(segmenter, task):
    prompts = segmenter.processor.prompts
    explained = prompts.segmentation(QUESTION, task, explanation="the kite can fly")
    opening = prompts.explained_opening(QUESTION, task)
    why = prompts.text_ids("the kite can fly", plain=True)
    end = replace(opening[-1], ids=(*opening[-1].ids, *why, prompts.seg_id))
    assert [(span.block, span.ids) for span in [*opening[:-1], end, PromptSpan(Block.MASKS)]] == [
        (span.block, span.ids) for span in explained
    ]


def test_words_and_masks_are_those_of_one_whole_pass(segmenter):
    """The cached prefix, step and mask tokens give what the sequence of the written text gives in one forward."""
    model, processor, visual = segmenter.model, segmenter.processor, visual_of(segmenter)
    with torch.no_grad():
        prefix = model.read_prefix(processor.layout([[QUESTION]], [TASK], [1]), visual)
    written = explain(model, processor, visual, prefix, QUESTION, TASK, 7)
    slow = explain(model, processor, visual, None, QUESTION, TASK, 7, use_cache=False)
    assert written.text == slow.text and len(written.text.split()) == 7
    *opening, reply = processor.prompts.explained_opening(QUESTION, TASK)
    tokens = tuple(map(int, written.text.split()))
    spans = [*opening, replace(reply, ids=(*reply.ids, *tokens, processor.prompts.seg_id)), PromptSpan(Block.MASKS)]
    with torch.no_grad():
        whole = model.forward_from_features(
            visual, build_layout([[spans]], [1], processor.token_counts), torch.zeros(1, 1, dtype=torch.long)
        )
    for one in (written.output, slow.output):
        torch.testing.assert_close(one.mask_logits, whole.mask_logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.score_logits, whole.score_logits, atol=1e-4, rtol=1e-4)


def test_the_masks_belong_to_the_text(segmenter):
    """After another text the same instruction has other proposals."""
    model, processor, visual = segmenter.model, segmenter.processor, visual_of(segmenter)
    short, long = (explain(model, processor, visual, None, QUESTION, TASK, count).output for count in (1, 9))
    assert not torch.allclose(short.score_logits, long.score_logits)


def test_seg_ends_the_text_and_does_not_begin_it(segmenter):
    model, seg = segmenter.model, segmenter.processor.prompts.seg_id
    session, texts = segmenter.open(tiny_model.photo()), []
    bias = torch.zeros(model.lm_head.out_features)
    bias[seg] = 1e4  # [SEG] is always the likeliest token; the second likeliest must stand first
    handle = model.lm_head.register_forward_hook(lambda module, given, logits: logits + bias)
    answer = session.reason(QUESTION, 5, on_text=texts.append)
    handle.remove()
    assert answer.wrote_seg and len(answer.explanation.split()) == 1 and str(seg) not in answer.explanation.split()
    assert "".join(texts) == answer.explanation


def test_reason_is_segment_with_an_explanation(segmenter, tmp_path):
    photo = tiny_model.photo()
    answer = segmenter.reason(photo, QUESTION)
    session = segmenter.open(photo)
    again, listed = session.segment(QUESTION, TASK, explain=True), session.segment([QUESTION, "the dog"], explain=True)
    batch = segmenter.segment([photo, photo], QUESTION, explain=True)
    for other in (again, listed[0], batch[1], segmenter.segment(photo, QUESTION, explain=True)):
        assert isinstance(other, ExplainedPrediction) and other.explanation == answer.explanation
        assert (other.masks == answer.masks).all() and (other.scores == answer.scores).all()
    assert [one.instruction for one in listed] == [QUESTION, "the dog"] and len(answer.explanation.split()) > 10
    saved = json.loads(answer.save(tmp_path).json.read_text())
    assert saved["explanation"] == answer.explanation and saved["wrote_seg"] is answer.wrote_seg
    assert saved["trained_to_write"] is (segmenter.processor.prompt_set == "released")
    assert repr(answer).startswith("ExplainedPrediction(") and "explanation=" in repr(answer)


def test_a_plain_answer_stays_as_it_was(segmenter):
    photo = tiny_model.photo()
    session = segmenter.open(photo)
    session.reason(QUESTION, 4)
    plain = session.segment(QUESTION)
    assert "explanation" not in plain.to_dict() and (plain.masks == segmenter.segment(photo, QUESTION).masks).all()


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"question": " "}, {"task": "chat"}, {"threshold": 2}])
def test_wrong_arguments(segmenter, wrong):
    with pytest.raises(InputError, match="expected"):
        segmenter.open(tiny_model.photo()).reason(**{"question": QUESTION, **wrong})


def test_a_conversation_reads_its_earlier_turns(segmenter):
    """The second answer is what the model writes after the whole conversation so far, in one uncached prompt."""
    model, processor = segmenter.model, segmenter.processor
    session = segmenter.open(tiny_model.photo())
    first, second = session.chat("what is the dog on", 4), session.chat("which cup ?", 4)
    assert session.turns == (("what is the dog on", first), ("which cup ?", second))
    spans = processor.prompts.conversation([("what is the dog on", None)])
    spans[-1] = replace(spans[-1], ids=(*spans[-1].ids, *map(int, first.split())))
    layout = build_layout([[[*spans, *processor.prompts.follow_up("which cup ?")]]], [1], processor.token_counts)
    slow = model.generate_text(layout, visual_of(segmenter), 4, use_cache=False)
    assert " ".join(map(str, slow)) == second
    alone = segmenter.chat(tiny_model.photo(), "which cup ?", 4)
    assert session.chat("which cup ?", 4, new_conversation=True) == alone and len(session.turns) == 1


def test_a_turn_that_is_not_read_to_its_end_was_not_asked(segmenter):
    session, other = segmenter.open(tiny_model.photo()), segmenter.open(tiny_model.photo())
    for each in (session, other):
        each.chat("what is the dog on", 4)
    stream = session.stream_chat("all of the zebra ?", 6)
    pieces = [next(stream), next(stream)]
    stream.close()
    assert "".join(pieces) and session.turns == other.turns
    assert session.chat("which cup ?", 5) == other.chat("which cup ?", 5)
    assert list(session.stream_chat("what ?", 3, new_conversation=True)) and len(session.turns) == 1


def test_a_conversation_ends_where_the_model_cannot_read_on(segmenter, monkeypatch):
    session = segmenter.open(tiny_model.photo())
    session.chat("what ?", 3)
    length = session._conversation._row.length
    monkeypatch.setattr(segmenter.model.config.text_config, "max_position_embeddings", length + 9)
    with pytest.raises(InputError, match=r"room for \d+ more tokens, got \d+; start a new one"):
        session.chat("what can the dog on the left of the big red cup tell ?")
    assert len(session.turns) == 1


def test_models_that_never_learned_to_write_say_so():
    untrained, trained = tiny_model.build(), tiny_model.build(writes_text=True)
    released = tiny_model.build(prompt_set="released", block_order="released")
    photo = tiny_model.photo()
    ways = [
        lambda s: s.chat(photo, "what ?", 1),
        lambda s: s.chat(None, "what ?", 1),
        lambda s: s.reason(photo, "?", 1),
    ]
    for ask in ways:
        with pytest.warns(UserWarning, match="tiny was not trained to write text, so its words mean nothing"):
            ask(Segmenter(*untrained, name="tiny"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for model in (trained, released):
                ask(Segmenter(*model))
    assert Segmenter(*trained).reason(photo, "what ?", 1).trained_to_write
