"""PromptBuilder: one prompt for inference and training, the same tokens with and without labels."""

import pytest
import tiny_model
import torch

from instructseg.model.layout import HIDDEN, IGNORE, Block
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import ASSISTANT, SEG_TOKEN, segmentation_template, split_placeholders
from instructseg.types import Task

TASKS = [Task.RES, Task.REASON_SEG, Task.RVOS, Task.REASON_VOS]
SETS = {
    "image_first": {},
    "references_first": {"block_order": "released"},
    "released": {"block_order": "released", "prompt_set": "released"},
    "without perceiver": {"perceiver_config": None},
}


@pytest.fixture(scope="module", params=SETS.values(), ids=SETS)
def processor(request):
    return InstructSegProcessor.for_config(tiny_model.config(**request.param), tiny_model.tokenizer())


def read(spans):
    return [(span.block, span.ids) for span in spans]


@pytest.mark.parametrize("task", TASKS)
def test_a_prompt_is_its_template_part_by_part(processor, task):
    """A slow reference: each part of the template tokenized on its own."""
    ids = lambda text: tuple(processor.tokenizer(text, add_special_tokens=False).input_ids)  # noqa: E731
    expected = []
    for part in split_placeholders(segmentation_template(processor.prompt_set, task, processor.block_order)):
        block = next((block for block in Block if block.value == part), Block.TEXT)
        if block is not Block.REFERENCES or processor.frame_tokens:
            instruction = (*ids("the dog"), processor.prompts.seg_id)
            expected.append((block, {Block.TEXT: ids(part), Block.INSTRUCTION: instruction}.get(block, ())))
    spans = processor.prompts.segmentation("the dog", task)
    assert read(spans) == expected and all(span.visible and span.labels is None for span in spans)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("explanation", ["", "the kite can fly [SEG]"])
def test_labels_change_no_token(processor, task, explanation):
    plain, labelled = (processor.prompts.segmentation("dog", task, explanation, labels=on) for on in (False, True))
    *spans, end = labelled
    assert read(spans) == read(plain) and end.ids == end.labels == (processor.tokenizer.eos_token_id,)
    assert end.visible == (processor.prompt_set != "released")
    (reply,) = [span for span in spans if span.labels is not None]
    assert len(reply.labels) == len(reply.ids) and reply.labels[-1] == processor.prompts.seg_id
    assert all(label in (IGNORE, token) for label, token in zip(reply.labels, reply.ids, strict=True))


def test_labels_begin_at_the_reply(processor):
    spans = processor.prompts.segmentation("dog", Task.RES, labels=True)
    (reply,) = [span for span in spans if span.labels is not None and span.ids != spans[-1].ids]
    tokenizer = processor.tokenizer
    text = segmentation_template(processor.prompt_set, Task.RES, processor.block_order).rpartition(ASSISTANT)[2]
    answer = tokenizer(text.removesuffix(Block.MASKS.value), add_special_tokens=False).input_ids
    lead = 2 if processor.prompt_set == "released" else 0
    labelled = [label for label in reply.labels if label != IGNORE]
    assert labelled[lead:] == answer and len(labelled) == lead + len(answer)
    assert tokenizer.convert_ids_to_tokens(labelled)[-1] == SEG_TOKEN


def test_a_cached_template_is_not_changed_by_its_prompts(processor):
    first = processor.prompts.segmentation("the dog", Task.RES)
    processor.prompts.segmentation("a red cup", Task.RES, labels=True)
    assert processor.prompts.segmentation("the dog", Task.RES) == first
    assert processor.prompts.segmentation("a red cup", Task.RES) != first


def test_the_processor_labels_on_request(processor):
    photo = tiny_model.photo()
    plain, labelled = (processor([[photo]], [["dog", "a cup"]], [Task.RES], replies=on) for on in (None, [["", ""]]))
    assert (plain.layout.labels == IGNORE).all() and labelled.layout.length == plain.layout.length + 2
    labels = labelled.layout.labels[0]
    for instruction in (1, 2):
        own = labels[torch.isin(labelled.layout.segments[0], torch.tensor([instruction, HIDDEN - instruction]))]
        assert own[own != IGNORE][-2:].tolist() == [processor.prompts.seg_id, processor.tokenizer.eos_token_id]


def test_conversations_share_their_first_two_spans(processor):
    one, other = (processor.prompts.conversation([(text, None)]) for text in ("what is it", "which dog"))
    assert one[:2] == other[:2] == processor.prompts.conversation([]) and one[2] != other[2]
    assert Block.IMAGE not in [span.block for span in processor.prompts.conversation([("what", "dog")], photo=False)]
