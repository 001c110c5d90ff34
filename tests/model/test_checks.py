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
    "None": (None, "expected the instruction to be a string, got NoneType; say what to segment"),
    "number": (5, "to be a string, got int"),
    "bytes": (b"cat", "to be a string, got bytes"),
    "list": (["cat"], "to be a string, got list"),
    "nothing": ("", "expected a non-empty instruction"),
    "spaces": (" \t\n\u00a0\u3000", "expected a non-empty instruction"),
    "zero width": ("\u200b\ufeff\u2060", "expected a non-empty instruction"),
    "control characters": ("\x00\x01", "expected a non-empty instruction"),
    "a lone surrogate": ("the \ud83d dog", r"to be UTF-8, got a lone surrogate '\ud83d'; write it in UTF-8"),
    "a byte of a broken command line": (b"cat \xff".decode("utf-8", "surrogateescape"), r"a lone surrogate '\udcff'"),
}


@pytest.mark.parametrize("text, message", TEXTS.values(), ids=TEXTS)
def test_texts_that_say_nothing(processor, text, message):
    with pytest.raises(InputError) as error:
        processor.prompts.instruction_ids(text)
    assert message in str(error.value) and "\n" not in str(error.value)
    str(error.value).encode()


@pytest.mark.parametrize("text", ["?", "左边的狗", "🐶", "the\0cat", "the\u200bcat", np.str_("dog"), " dog "])
def test_texts_that_say_something(text):
    check_text(text)


LIMITS = {
    "max_masks": [0, -1, 1.5, 2.0, "3", True, np.float32(1), float("nan")],
    "threshold": [-0.01, 1.01, 50, float("nan"), float("inf"), "0.5", True, np.zeros(1)],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in LIMITS.items() for value in values])
def test_limits_out_of_range(name, value):
    with pytest.raises(InputError, match=f"^expected {name} to be "):
        check_limits(**{"max_masks": 1, "threshold": None, name: value})


@pytest.mark.parametrize(
    "most, least",
    [(1, None), (None, None), (np.int64(3), 0), (10**9, 1), (1, np.float32(0.5)), (1, 0.0)],
)
def test_limits_within(most, least):
    check_limits(most, least)


RGBA = np.dstack([PHOTO, PHOTO[..., :1]])
BATCHES = {
    "empty": (([], [], []), "0 visuals, 0 lists of instructions, 0 tasks"),
    "photos without instructions": (([(PHOTO,)] * 2, [["dog"]], RES * 2), "2 visuals, 1 lists"),
    "photos without tasks": (([(PHOTO,)] * 2, [["dog"]] * 2, RES), "1 tasks"),
    "photos without keys": (([(PHOTO,)] * 2, [["dog"]] * 2, RES * 2, [0]), "1 key frames"),
    "no frames": (([()], [["dog"]], RES), "the index of one of 0 frames, got 0"),
    "key too large": (([(PHOTO,)], [["dog"]], RES, [1]), "the index of one of 1 frames, got 1"),
    "key from the end": (([(PHOTO, PHOTO)], [["dog"]], RES, [-1]), "the index of one of 2 frames, got -1"),
    "no list around a photo": (([PHOTO], [["dog"]], RES), "RGB uint8 array (height, width, 3), got uint8 (56, 3)"),
    "float": (([(PHOTO / 255,)], [["dog"]], RES), "got float64 (40, 56, 3)"),
    "gray": (([(PHOTO[..., 0],)], [["dog"]], RES), "got uint8 (40, 56)"),
    "RGBA": (([(RGBA,)], [["dog"]], RES), "got uint8 (40, 56, 4)"),
    "no pixels": (([(PHOTO[:0],)], [["dog"]], RES), "got uint8 (0, 56, 3)"),
    "a broken reference": (([(PHOTO, RGBA)], [["dog"]], RES), "got uint8 (40, 56, 4)"),
    "a path": (([("a.jpg",)], [["dog"]], RES), "got str"),
    "letters": (([(PHOTO,)], ["dog"], RES), "instruction for a visual, got 'dog'; give a list"),
    "no instructions": (([(PHOTO,)], [[]], RES), "instruction for a visual, got []"),
    "one has none": (([(PHOTO,)] * 2, [["dog"], []], RES * 2), "instruction for a visual, got []"),
    "not a text": (([(PHOTO,)], [[None]], RES), "got NoneType"),
    "conversation": (([(PHOTO,)], [["dog"]], [Task.CHAT]), "one of res, reason_seg, rvos, reason_vos, got"),
    "unknown task": (([(PHOTO,)], [["dog"]], ["segment"]), "reason_vos, got 'segment'"),
    "no task": (([(PHOTO,)], [["dog"]], [None]), "reason_vos, got None"),
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
    with pytest.raises(InputError, match="expected selection to be one of score, score_x_quality, got 'best'"):
        processor.post_process(torch.zeros(2, 4, 4), torch.zeros(2), Geometry((8, 8), (64, 64), 64), "best")


@pytest.mark.parametrize("part", [0, 1])
def test_nan_is_no_answer(processor, part):
    outputs = [torch.ones(2, 4, 4), torch.zeros(2)]
    outputs[part].view(-1)[1] = float("nan")
    with pytest.raises(InputError, match="expected finite model outputs, got NaN; use dtype='float32'"):
        processor.post_process(*outputs, Geometry((8, 8), (64, 64), 64))


def test_a_tokenizer_without_the_token_that_stands_for_masks():
    plain = tiny_model.tokenizer()
    lacking = PreTrainedTokenizerFast(tokenizer_object=plain.backend_tokenizer.from_str(_without_seg(plain)))
    with pytest.raises(CheckpointError, match=r"expected a tokenizer with a \[SEG\] token"):
        InstructSegProcessor.for_config(tiny_model.config(), lacking)
    lacking.unk_token = "<unk>"
    with pytest.raises(CheckpointError, match=r"expected a tokenizer with a \[SEG\] token"):
        InstructSegProcessor.for_config(tiny_model.config(), lacking)


def _without_seg(tokenizer: PreTrainedTokenizerFast) -> str:
    return tokenizer.backend_tokenizer.to_str().replace("[SEG]", "[MASK]")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_mask_tokens": 9}, "expected mask_tokens 9, got 4"),
        ({"perceiver_config": None}, "expected frame_tokens 0, got 3"),
        ({"vision_config": {"image_size": 56}}, "expected image_tokens 64, got 16; expected clip_side 56, got 28"),
        (tiny_model.LIKE_NANO, "expected clip_side None, got 28"),
        ({"block_order": "released"}, "expected block_order released, got image_first"),
        ({"block_order": "released", "prompt_set": "released"}, "expected prompt_set released, got paper"),
        ({"text_config": {"vocab_size": 30}}, "expected at most 30 tokens, got"),
    ],
)
def test_processors_of_another_model(processor, changes, message):
    with pytest.raises(CheckpointError) as error:
        processor.check_fits(tiny_model.config(**changes))
    assert "the processor does not fit the model" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("changes", [{}, *tiny_model.VARIANTS.values()], ids=["tiny", *tiny_model.VARIANTS])
def test_processors_of_their_own_model(changes):
    config = tiny_model.config(**changes)
    InstructSegProcessor.for_config(config, tiny_model.tokenizer()).check_fits(config)
