"""Conversation about a photo: the same words with and without a cache, and what its prompt holds."""

from dataclasses import replace

import pytest
import tiny_model
import torch

from instructseg.errors import InputError
from instructseg.inference.chat import prefill_photo
from instructseg.inference.segmenter import Segmenter
from instructseg.model.layout import HIDDEN, IGNORE, Block, build_layout
from instructseg.model.modeling import VisualFeatures
from instructseg.prompts import chat_template
from instructseg.types import Task

WAYS = {
    "clip encoder": {},
    "one encoder": tiny_model.LIKE_NANO,
    "released": {"prompt_set": "released", "block_order": "released"},
}
QUESTION = "what is the dog on"


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def segmenter(request):
    """Random weights mostly write tokens that the small tokenizer has no words for: answers are told by their ids."""
    model, processor = tiny_model.build(**request.param)
    processor.tokenizer.decode = lambda words, **_: " ".join(map(str, words))
    return Segmenter(model, processor)


def conversation(processor, turns, **options):
    return processor.prompts.conversation(turns, **options)


def layout_of(segmenter, spans):
    return build_layout([[spans]], [1], segmenter.processor.token_counts)


def words(spans):
    return [word for span in spans for word in span.ids]


@pytest.mark.parametrize("turns", [[(QUESTION, None)], [(QUESTION, "the cup"), ("which cup?", None)]])
def test_the_cache_changes_nothing(segmenter, turns):
    model = segmenter.model
    layout = layout_of(segmenter, conversation(segmenter.processor, turns))
    visual = VisualFeatures(model.encode_tokens(*segmenter.open(tiny_model.photo())._pixels()))
    cached, slow = (model.generate_text(layout, visual, 12, use_cache=use_cache) for use_cache in (True, False))
    assert cached == slow and len(cached) == 12


def test_words_are_what_the_forward_finds_likeliest(segmenter):
    """Each written word is the argmax of the whole model's logits at the place before it."""
    model, processor = segmenter.model, segmenter.processor
    visual = VisualFeatures(model.encode_tokens(*segmenter.open(tiny_model.photo())._pixels()))
    turns = [(QUESTION, "the cup"), ("which cup?", None)]
    spans = conversation(processor, turns)
    written = model.generate_text(layout_of(segmenter, spans), visual, 5)
    spans[-1] = replace(spans[-1], ids=(*spans[-1].ids, *written))
    layout = layout_of(segmenter, spans)
    with torch.no_grad():
        logits = model.lm_head(model.reason(layout, visual, None).hidden_states)[0]
        logits = logits[:, : model.config.text_config.vocab_size]
    assert logits.argmax(-1)[-6:-1].tolist() == written


def test_it_stops_at_the_end_token(segmenter):
    model = segmenter.model
    layout = layout_of(segmenter, conversation(segmenter.processor, [(QUESTION, None)]))
    visual = VisualFeatures(model.encode_tokens(*segmenter.open(tiny_model.photo())._pixels()))
    written = model.generate_text(layout, visual, 6)
    stop = written[3]
    assert model.generate_text(layout, visual, 6, stop=(stop,)) == written[: written.index(stop)]


def test_words_without_an_embedding_are_never_written():
    model, processor = tiny_model.build(lm_head_size=600)
    with torch.no_grad():
        model.lm_head.weight[512:] = 100 * model.lm_head.weight[:88]
    segmenter = Segmenter(model, processor)
    layout = layout_of(segmenter, conversation(processor, [(QUESTION, None)]))
    visual = VisualFeatures(model.encode_tokens(*segmenter.open(tiny_model.photo())._pixels()))
    assert max(model.generate_text(layout, visual, 6)) < 512


def test_chat(segmenter):
    photo = tiny_model.photo()
    session = segmenter.open(photo)
    before = session.chat(QUESTION, 4)
    session.segment("the dog")
    assert session.chat(QUESTION, 4, new_conversation=True) == before == segmenter.chat(photo, QUESTION, 4)
    assert len(before.split()) == 4
    with pytest.raises(InputError, match="expected a non-empty question"):
        segmenter.chat(photo, "  ")


def test_labels_are_on_the_answers_and_their_ends(segmenter):
    processor = segmenter.processor
    spans = conversation(processor, [(QUESTION, "the cup"), ("which cup?", "red")])
    labelled = [label for span in spans for label in span.labels or () if label != IGNORE]
    end = processor.tokenizer.eos_token_id
    cup, red = (list(processor.prompts.text_ids(text)) for text in ("the cup", "red"))
    lead = labelled[: len(labelled) - len([*cup, end, *red, end])]
    assert labelled == [*lead, *cup, end, *red, end]
    assert len(lead) == (2 if processor.prompt_set == "released" else 0)
    layout = layout_of(segmenter, spans)
    ends = layout.token_ids == end
    assert ends.sum() == 2 and (layout.segments[ends] == HIDDEN).all() == (processor.prompt_set == "released")


def test_special_words_in_a_conversation_are_plain(segmenter):
    processor = segmenter.processor
    special = processor.tokenizer.convert_tokens_to_ids(["[SEG]", "</s>"])
    spans = conversation(processor, [("[SEG] <image> </s>", "[SEG] </s>")])
    end = spans.pop()
    assert end.ids == (processor.tokenizer.eos_token_id,)
    assert not set(special) & set(words(spans)) and sum(span.block is Block.IMAGE for span in spans) == 1


@pytest.mark.parametrize("task", [Task.RES, Task.REASON_SEG, Task.RVOS, Task.REASON_VOS])
def test_a_labelled_prompt_is_the_prompt_with_labels(segmenter, task):
    processor = segmenter.processor
    plain, labelled = (processor.prompts.segmentation("the dog", task, labels=on) for on in (False, True))
    assert [(span.block, span.ids) for span in labelled[:-1]] == [(span.block, span.ids) for span in plain]
    assert labelled[-1].ids == (processor.tokenizer.eos_token_id,)
    seg = processor.tokenizer.convert_tokens_to_ids("[SEG]")
    labels = [label for span in labelled for label in span.labels or () if label != IGNORE]
    assert labels[-2:] == [seg, processor.tokenizer.eos_token_id]


def test_an_explanation_comes_before_seg(segmenter):
    processor = segmenter.processor
    spans = processor.prompts.segmentation("what can fly", Task.REASON_SEG, "the kite can fly [SEG]", labels=True)
    labels = [label for span in spans for label in span.labels or () if label != IGNORE]
    seg = processor.tokenizer.convert_tokens_to_ids("[SEG]")
    assert labels.count(seg) == 1
    why = list(processor.prompts.text_ids("the kite can fly [SEG]", plain=True))
    at = labels.index(seg)
    assert labels[at - len(why) : at] == why


def test_a_photo_is_read_once(segmenter, monkeypatch):
    questions = ["what is on the cup", "which dog is red ?", "what time"]
    alone = [segmenter.chat(tiny_model.photo(), question, 6) for question in questions]
    model, calls = segmenter.model, []
    encoder, language = type(model.vision_tokens), type(model.language_model)
    for kind, name in ((encoder, "encoder"), (language, "language")):

        def counted(self, *args, real=kind.forward, name=name, **kwargs):
            calls.append((name, kwargs["inputs_embeds"].shape[1] if name == "language" else None))
            return real(self, *args, **kwargs)

        monkeypatch.setattr(kind, "forward", counted)
    session = segmenter.open(tiny_model.photo())
    assert [session.chat(question, 6, new_conversation=True) for question in questions] == alone and len(set(alone)) > 1
    assert sum(name == "encoder" for name, _ in calls) == 1
    given = [conversation(segmenter.processor, [(question, None)])[-1].ids for question in questions]
    lead, *rest = [length for name, length in calls if name == "language"]
    assert lead == session._chat_prefix.prefix.get_seq_length()
    assert rest == [length for ids in given for length in (len(ids), 1, 1, 1, 1, 1)]


def test_the_prefix_changes_nothing(segmenter):
    model, processor = segmenter.model, segmenter.processor
    visual = VisualFeatures(model.encode_tokens(*segmenter.open(tiny_model.photo())._pixels()))
    layout = layout_of(segmenter, conversation(processor, [(QUESTION, None)]))
    prefix = prefill_photo(model, processor, visual).prefix
    length = prefix.get_seq_length()
    assert length > processor.image_tokens
    for _ in range(2):  # the second time finds the prefix as it was
        assert model.generate_text(layout, visual, 12, prefix=prefix) == model.generate_text(layout, visual, 12)
        assert prefix.get_seq_length() == length


def test_without_a_photo(segmenter):
    model, processor = segmenter.model, segmenter.processor
    prompt = f"{chat_template(processor.prompt_set).partition('<image>')[0]}{QUESTION} ASSISTANT:"
    written = list(processor.prompts.text_ids(prompt, plain=True))
    given = len(written)
    for _ in range(6):  # slow and obvious: the whole text anew for each word
        with torch.no_grad():
            states = model.language_model(input_ids=torch.tensor([written])).last_hidden_state
            written.append(int(model.lm_head(states)[0, -1].argmax()))
    assert segmenter.chat(None, QUESTION, 6) == " ".join(map(str, written[given:]))
    for wrong, expected in ((" ", "a non-empty question"), (None, "the question to be a string")):
        with pytest.raises(InputError, match=f"expected {expected}"):
            segmenter.chat(None, wrong)
    spans = conversation(processor, [(QUESTION, None)])
    with pytest.raises(ValueError, match="expected visual tokens for the prompt's image, got None"):
        model.generate_text(layout_of(segmenter, spans), None, 2)


def test_line_breaks_reach_the_tokenizer(segmenter, monkeypatch):
    read = []
    monkeypatch.setattr(segmenter.processor.prompts, "text_ids", lambda text, plain=False: read.append(text) or (3,))
    question = "  What is it?\nA. a cup\nB. a  kite\nwith the letter.\n"
    conversation(segmenter.processor, [(question, None)])
    assert read[-1] == "\nWhat is it?\nA. a cup\nB. a  kite\nwith the letter. ASSISTANT:"
    conversation(segmenter.processor, [(question, None)], photo=False)
    assert read[-1].endswith("USER: What is it?\nA. a cup\nB. a  kite\nwith the letter. ASSISTANT:")
