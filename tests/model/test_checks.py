"""What the processor refuses: one line that says what was given and what was needed, before anything is computed."""

import numpy as np
import pytest
import tiny_model
import torch
from transformers import PreTrainedTokenizerFast

from instructseg.errors import CheckpointError, InputError
from instructseg.model.checks import check_limits, check_text
from instructseg.model.image_processing import Geometry
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

PHOTO = tiny_model.photo()
RES = [Task.RES]


@pytest.fixture(scope="module")
def processor() -> InstructSegProcessor:
    return InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")


TEXTS = {
    "None": (None, "is NoneType, a string was needed; say what to segment"),
    "number": (5, "is int, a string was needed"),
    "bytes": (b"cat", "is bytes, a string was needed"),
    "list": (["cat"], "is list, a string was needed"),
    "nothing": ("", "is empty"),
    "spaces": (" \t\n\u00a0\u3000", "is empty"),
    "zero width": ("\u200b\ufeff\u2060", "is empty"),
    "control characters": ("\x00\x01", "is empty"),
    "half a letter": ("the \ud83d dog", r"holds half a letter, '\ud83d'; write it in UTF-8"),
    "a byte of a broken command line": (b"cat \xff".decode("utf-8", "surrogateescape"), r"half a letter, '\udcff'"),
}


@pytest.mark.parametrize("text, message", TEXTS.values(), ids=TEXTS)
def test_texts_that_say_nothing(processor, text, message):
    with pytest.raises(InputError) as error:
        processor.instruction_ids(text)
    assert message in str(error.value) and "\n" not in str(error.value)
    str(error.value).encode()


@pytest.mark.parametrize("text", ["?", "左边的狗", "🐶", "the\0cat", "the\u200bcat", np.str_("dog"), " dog "])
def test_texts_that_say_something(text):
    check_text(text)


LIMITS = {
    "max_masks": [0, -1, 1.5, 2.0, "3", None, True, np.float32(1), float("nan")],
    "threshold": [-0.01, 1.01, 50, float("nan"), float("inf"), "0.5", True, np.zeros(1)],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in LIMITS.items() for value in values])
def test_limits_out_of_range(name, value):
    with pytest.raises(InputError, match=f"^{name} is "):
        check_limits(**{"max_masks": 1, "threshold": None, name: value})


@pytest.mark.parametrize("most, least", [(1, None), (np.int64(3), 0), (10**9, 1), (1, np.float32(0.5)), (1, 0.0)])
def test_limits_within(most, least):
    check_limits(most, least)


RGBA = np.dstack([PHOTO, PHOTO[..., :1]])
BATCHES = {
    "empty": (([], [], []), "0 visuals, 0 lists of instructions, 0 tasks"),
    "photos without instructions": (([(PHOTO,)] * 2, [["dog"]], RES * 2), "2 visuals, 1 lists"),
    "photos without tasks": (([(PHOTO,)] * 2, [["dog"]] * 2, RES), "1 tasks"),
    "photos without keys": (([(PHOTO,)] * 2, [["dog"]] * 2, RES * 2, [0]), "1 key frames"),
    "no frames": (([()], [["dog"]], RES), "key frame is number 0 of 0 frames"),
    "key too large": (([(PHOTO,)], [["dog"]], RES, [1]), "number 1 of 1 frames"),
    "key from the end": (([(PHOTO, PHOTO)], [["dog"]], RES, [-1]), "number -1 of 2 frames"),
    "no list around a photo": (([PHOTO], [["dog"]], RES), "a frame is uint8 (56, 3); RGB uint8 (height, width, 3)"),
    "float": (([(PHOTO / 255,)], [["dog"]], RES), "a frame is float64 (40, 56, 3)"),
    "gray": (([(PHOTO[..., 0],)], [["dog"]], RES), "a frame is uint8 (40, 56)"),
    "RGBA": (([(RGBA,)], [["dog"]], RES), "a frame is uint8 (40, 56, 4)"),
    "no pixels": (([(PHOTO[:0],)], [["dog"]], RES), "a frame is uint8 (0, 56, 3)"),
    "a broken reference": (([(PHOTO, RGBA)], [["dog"]], RES), "a frame is uint8 (40, 56, 4)"),
    "a path": (([("a.jpg",)], [["dog"]], RES), "a frame is str"),
    "letters": (([(PHOTO,)], ["dog"], RES), "the instructions of a visual are 'dog'; a list"),
    "no instructions": (([(PHOTO,)], [[]], RES), "the instructions of a visual are []"),
    "one has none": (([(PHOTO,)] * 2, [["dog"], []], RES * 2), "the instructions of a visual are []"),
    "not a text": (([(PHOTO,)], [[None]], RES), "the instruction is NoneType"),
    "conversation": (([(PHOTO,)], [["dog"]], [Task.CHAT]), "it is one of res, reason_seg, rvos, reason_vos"),
    "unknown task": (([(PHOTO,)], [["dog"]], ["segment"]), "task is 'segment'"),
    "no task": (([(PHOTO,)], [["dog"]], [None]), "task is None"),
}


@pytest.mark.parametrize("arguments, message", BATCHES.values(), ids=BATCHES)
def test_batches_that_do_not_fit(processor, arguments, message):
    with pytest.raises(InputError) as error:
        processor(*arguments)
    assert message in str(error.value)


def test_a_task_by_its_name(processor):
    named, meant = (processor([(PHOTO,)], [["dog"]], [task]) for task in ("reason_seg", Task.REASON_SEG))
    assert torch.equal(named.layout.token_ids, meant.layout.token_ids)


def test_an_unknown_selection(processor):
    with pytest.raises(InputError, match="selection is 'best'; it is one of score, score_x_quality"):
        processor.post_process(torch.zeros(2, 4, 4), torch.zeros(2), Geometry((8, 8), (64, 64), 64), "best")


@pytest.mark.parametrize("part", [0, 1])
def test_nan_is_no_answer(processor, part):
    outputs = [torch.ones(2, 4, 4), torch.zeros(2)]
    outputs[part].view(-1)[1] = float("nan")
    with pytest.raises(InputError, match="the model computed NaN instead of masks; load it with dtype='float32'"):
        processor.post_process(*outputs, Geometry((8, 8), (64, 64), 64))


def test_a_tokenizer_without_the_token_that_stands_for_masks():
    plain = tiny_model.tokenizer()
    lacking = PreTrainedTokenizerFast(tokenizer_object=plain.backend_tokenizer.from_str(_without_seg(plain)))
    with pytest.raises(CheckpointError, match=r"the tokenizer has no \[SEG\] token"):
        InstructSegProcessor.for_config(tiny_model.config(), lacking)
    lacking.unk_token = "<unk>"
    with pytest.raises(CheckpointError, match=r"the tokenizer has no \[SEG\] token"):
        InstructSegProcessor.for_config(tiny_model.config(), lacking)


def _without_seg(tokenizer: PreTrainedTokenizerFast) -> str:
    return tokenizer.backend_tokenizer.to_str().replace("[SEG]", "[MASK]")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_mask_tokens": 9}, "mask_tokens is 4, 9 was needed"),
        ({"perceiver_config": None}, "frame_tokens is 3, 0 was needed"),
        ({"vision_config": {"image_size": 56}}, "image_tokens is 16, 64 was needed; clip_side is 28, 56 was needed"),
        (tiny_model.LIKE_NANO, "clip_side is 28, None was needed"),
        ({"block_order": "released"}, "block_order is image_first, released was needed"),
        ({"block_order": "released", "prompt_set": "released"}, "prompt_set is paper, released was needed"),
        ({"text_config": {"vocab_size": 30}}, "tokens, at most 30 fit"),
    ],
)
def test_processors_of_another_model(processor, changes, message):
    with pytest.raises(CheckpointError) as error:
        processor.check_fits(tiny_model.config(**changes))
    assert "the processor was made for another model" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("changes", [{}, *tiny_model.VARIANTS.values()], ids=["tiny", *tiny_model.VARIANTS])
def test_processors_of_their_own_model(changes):
    config = tiny_model.config(**changes)
    InstructSegProcessor.for_config(config, tiny_model.tokenizer()).check_fits(config)
