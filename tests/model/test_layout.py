"""The packed sequence against a slow reference that lays out each instruction alone."""

import pytest
import torch

from instructseg.model.layout import (
    IGNORE,
    PADDING,
    PREFIX,
    Block,
    PromptSpan,
    TokenCounts,
    build_layout,
    split_prefix,
)

COUNTS = TokenCounts(image=4, frame=2, masks=3)
IMAGE, REFERENCES, MASKS = PromptSpan(Block.IMAGE), PromptSpan(Block.REFERENCES), PromptSpan(Block.MASKS)


def text(*ids, labels=None):
    return PromptSpan(Block.TEXT, ids, labels)


def image_first(*words):
    return [text(5, 6), IMAGE, text(7), REFERENCES, PromptSpan(Block.INSTRUCTION, words), text(8, 9), MASKS]


def references_first(*words):
    return [text(5), REFERENCES, IMAGE, text(6, 7), PromptSpan(Block.INSTRUCTION, words), text(8), MASKS]


ORDERS = {"image_first": image_first, "references_first": references_first}
BATCH = [[(11, 12), (13,), (14, 15, 16)], [(17,)]]
FRAMES = [2, 1]


def whole_prompt(spans, frames):
    """One instruction's sequence: (block, id) of every position."""
    counts = {Block.IMAGE: COUNTS.image, Block.REFERENCES: frames * COUNTS.frame, Block.MASKS: COUNTS.masks}
    return [(span.block, word) for span in spans for word in span.ids or (0,) * counts.get(span.block, 0)]


@pytest.fixture(params=ORDERS.values(), ids=ORDERS)
def prompt(request):
    return request.param


@pytest.fixture
def layout(prompt):
    return build_layout([[prompt(*words) for words in row] for row in BATCH], FRAMES, COUNTS)


def attended(layout, row, instruction):
    """Slots of the prefix and of one instruction's segment, in order."""
    segments = layout.segments[row]
    return [at for at, segment in enumerate(segments.tolist()) if segment in (PREFIX, instruction + 1)]


def test_an_instruction_with_its_prefix_is_its_whole_prompt(layout, prompt):
    for row, instructions in enumerate(BATCH):
        for at, words in enumerate(instructions):
            slots = attended(layout, row, at)
            expected = whole_prompt(prompt(*words), FRAMES[row])
            assert layout.token_ids[row, slots].tolist() == [word for _, word in expected]
            assert layout.positions[row, slots].tolist() == list(range(len(expected)))


def test_slots_are_where_the_blocks_stand(layout, prompt):
    dump = layout.length
    for row, instructions in enumerate(BATCH):
        for at, words in enumerate(instructions):
            slots = attended(layout, row, at)
            kinds = [kind for kind, _ in whole_prompt(prompt(*words), FRAMES[row])]
            placed = list(zip(slots, kinds, strict=True))
            blocks = {block: [slot for slot, kind in placed if kind is block] for block in Block}
            images = [group for group in layout.image_slots[row].tolist() if group[0] in blocks[Block.IMAGE]]
            assert images == [blocks[Block.IMAGE]]
            padded = lambda own, table: own + [dump] * (table.shape[-1] - len(own))  # noqa: E731
            assert layout.reference_slots[row, at].tolist() == padded(blocks[Block.REFERENCES], layout.reference_slots)
            assert layout.word_slots[row, at].tolist() == padded(blocks[Block.INSTRUCTION], layout.word_slots)
            assert layout.mask_slots[row, at].tolist() == blocks[Block.MASKS]
            assert layout.word_ids[row, at][layout.word_mask[row, at]].tolist() == list(words)
    for table in (layout.reference_slots, layout.word_slots, layout.mask_slots):
        assert (table[~layout.expression_mask] == dump).all()
    assert layout.expression_mask.tolist() == [[True, True, True], [True, False, False]]
    assert not layout.word_mask[~layout.expression_mask].any()
    assert (layout.segments[1] == PADDING).any() and (layout.labels == IGNORE).all()


def test_attention_mask(layout):
    mask = layout.attention_mask()
    assert mask.shape == (2, 1, layout.length, layout.length) and mask.dtype == torch.bool
    for row in range(2):
        segments = layout.segments[row].tolist()
        for query in range(layout.length):
            for key in range(layout.length):
                sees = key <= query and segments[key] != PADDING and segments[key] in (PREFIX, segments[query])
                assert mask[row, 0, query, key] == (sees or query == key)


def test_hidden_tokens_attend_and_are_not_attended_to():
    """A hidden span keeps its positions and attends back, but no later token, nor the span itself, attends to it."""
    hidden = PromptSpan(Block.TEXT, (8, 9), visible=False)
    instructions = [PromptSpan(Block.INSTRUCTION, words) for words in ((11,), (12, 13))]
    spans = [[text(5), IMAGE, instruction, hidden, text(7), MASKS] for instruction in instructions]
    shown = [[*row[:3], text(8, 9), *row[4:]] for row in spans]
    layout, plain = (build_layout([rows], [1], COUNTS) for rows in (spans, shown))
    assert torch.equal(layout.positions, plain.positions) and torch.equal(layout.mask_slots, plain.mask_slots)
    mask, expected = layout.attention_mask()[0, 0], plain.attention_mask()[0, 0].clone()
    slots = ((plain.token_ids[0] == 8) | (plain.token_ids[0] == 9)).nonzero()[:, 0]
    assert len(slots) == 4
    expected[:, slots] = False
    assert torch.equal(mask, expected) and mask.any(-1).all()


def test_the_image_is_shared_where_the_order_allows(prompt, layout):
    shared = prompt is image_first
    assert layout.image_slots.shape == (2, 1 if shared else 3, 4)
    prefix = (layout.segments == PREFIX).sum(1).tolist()
    assert prefix == ([7, 7] if shared else [1, 1])
    single = len(whole_prompt(prompt(*BATCH[0][0]), 2))
    assert layout.length < 3 * single


def test_split_prefix():
    prefix, own = split_prefix(image_first(1))
    assert [span.block for span in prefix] == [Block.TEXT, Block.IMAGE, Block.TEXT] and own[0] is REFERENCES
    assert split_prefix([text(1), IMAGE]) == ([text(1), IMAGE], [])


def test_labels_stay_with_their_tokens():
    chat = [text(5), IMAGE, PromptSpan(Block.INSTRUCTION, (11,)), text(8, 9, labels=(8, 9)), MASKS]
    layout = build_layout([[chat, chat]], [1], COUNTS)
    for at in (0, 1):
        slots = attended(layout, 0, at)
        assert layout.labels[0, slots].tolist() == [IGNORE] * 6 + [8, 9] + [IGNORE] * 3


def test_without_perceiver_tokens():
    counts = TokenCounts(image=4, frame=0, masks=3)
    layout = build_layout([[image_first(11)]], [2], counts)
    assert layout.reference_slots.shape == (1, 1, 0) and layout.length == 5 + 4 + 1 + 3


def test_mixed_tasks_in_one_row_are_refused():
    other = [text(5, 99), *image_first(11)[1:]]
    with pytest.raises(ValueError, match="put different tasks in separate rows"):
        build_layout([[image_first(11), other]], [1], COUNTS)
    assert build_layout([[image_first(11)], [other]], [1, 1], COUNTS).length == 15


def test_to_moves_every_tensor():
    moved = build_layout([[image_first(11)]], [1], COUNTS).to("meta")
    assert all(value.is_meta for name, value in vars(moved).items() if name != "prefix_length")
