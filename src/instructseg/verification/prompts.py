"""Compare our prompts, token ids, labels and reference frames with recorded ones of the released code."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from instructseg.conversion.released import with_released_behaviour
from instructseg.model.layout import IGNORE, Block, PromptSpan
from instructseg.model.presets import tiny
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.references import nearest_references
from instructseg.prompts import SEG_TOKEN, join_expressions
from instructseg.types import Task
from instructseg.verification.recording import Comparison

END = "<|endoftext|>"
PLACEHOLDER_IDS = {Block.IMAGE: -200, Block.MASKS: -201, Block.INSTRUCTION: -204, Block.REFERENCES: -205}

TASKS = {
    "refcoco": Task.RES,
    "reasonseg_train_plain": Task.REASON_SEG,
    "reasonseg_train_explain": Task.REASON_SEG,
    "reasonseg_eval": Task.REASON_SEG,
    "refytvos_train": Task.RVOS,
    "refytvos_eval": Task.RVOS,
    "refdavis_eval": Task.RVOS,
    "revos_train": Task.REASON_VOS,
    "revos_eval": Task.REASON_VOS,
}


def check_data_semantics(tree: dict[str, Any], result: Comparison) -> None:
    """Compare every recorded prompt, and the reference frames of every video length."""
    processor = _processor(tree["prompts"])
    for name, recorded in tree["prompts"].items():
        if name.startswith("llava"):
            _compare(name, processor.prompts.conversation(_turns(recorded["conversations"])), recorded, result)
            continue
        task = TASKS.get(name)
        if task is None:
            result.mismatches.append(f"{name}: unknown task")
            continue
        instructions = _instructions(recorded, task)
        for instruction in instructions:
            explanation = recorded.get("explanation", "")
            spans = processor.prompts.segmentation(instruction, task, explanation, labels=True)
            _compare(name, spans, recorded, result)
        ids = [list(processor.prompts.instruction_ids(instruction)) for instruction in instructions]
        recorded_ids = recorded["token_refer_id"]
        result.equal(f"{name}.token_refer_id", ids if isinstance(recorded_ids[0], list) else ids[0], recorded_ids)
    _compare_references(tree["reference_frames"], result)


def _processor(prompts: dict[str, Any]) -> InstructSegProcessor:
    """A processor whose tokenizer has one id per character, like the recorded one."""
    characters = {chr(word) for recorded in prompts.values() for word in _all_ids(recorded) if 0 <= word < 0x110000}
    vocabulary = {character: ord(character) for character in characters}
    special = {SEG_TOKEN: _special(prompts, SEG_TOKEN), END: _special(prompts, END)}
    vocabulary = {token: index for token, index in vocabulary.items() if index not in special.values()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE(vocabulary | special, [])), eos_token=END)
    tokenizer.add_tokens(SEG_TOKEN, special_tokens=True)
    return InstructSegProcessor.for_config(with_released_behaviour(tiny()), tokenizer)


def _all_ids(recorded: dict[str, Any]) -> list[int]:
    refer = recorded.get("token_refer_id", [])
    return recorded["input_ids"] + [word for part in refer for word in (part if isinstance(part, list) else [part])]


def _special(prompts: dict[str, Any], token: str) -> int:
    """The recorded id of a special token: every prompt ends in the end token, every instruction in [SEG]."""
    if token == END:
        return next(iter(prompts.values()))["input_ids"][-1]
    return next(_all_ids(recorded)[-1] for recorded in prompts.values() if "token_refer_id" in recorded)


def _instructions(recorded: dict[str, Any], task: Task) -> list[str]:
    """The instructions of one recorded sample; Ref-DAVIS has one per object, of one or several expressions."""
    if "sentence" in recorded or "exp" in recorded:
        return [join_expressions([recorded.get("sentence") or recorded["exp"]], task)]
    expressions = recorded.get("sentences") or recorded["expressions"]
    if isinstance(expressions[0], list):
        return [join_expressions([item] if isinstance(item, str) else item, task) for item in expressions[0]]
    return [join_expressions(expressions, task)]


def _turns(messages: list[dict[str, str]]) -> list[tuple[str, str]]:
    """(question, reply) pairs; the prompt always starts with the image, so its placeholder is dropped."""
    values = [message["value"].replace("<image>", "").strip() for message in messages]
    return list(zip(values[::2], values[1::2], strict=True))


def _compare(name: str, spans: list[PromptSpan], recorded: dict[str, Any], result: Comparison) -> None:
    ids, labels, refer = [], [], []
    for span in spans:
        placeholder = PLACEHOLDER_IDS.get(span.block)
        ids += span.ids if placeholder is None else [placeholder]
        labels += (span.labels or [IGNORE] * len(span.ids)) if placeholder is None else [IGNORE]
        refer += [0] * len(span.ids) if placeholder is None else [int(span.block is Block.INSTRUCTION)]
    result.equal(f"{name}.input_ids", ids, recorded["input_ids"])
    expected = [IGNORE if label < 0 else label for label in recorded["labels"]]  # placeholders have no label here
    result.equal(f"{name}.labels", labels, expected)
    if "refer_embedding_indices" in recorded:
        result.equal(f"{name}.refer_embedding_indices", refer, recorded["refer_embedding_indices"])


def _compare_references(table: dict[str, Any], result: Comparison) -> None:
    """Reference frames by video length, count and key frame; the released code reads past the end of short videos."""
    for length, counts in table.items():
        for count, keys in counts.items():
            for key, frames in keys.items():
                ours = nearest_references(int(key), int(count), int(length))
                others = [frame for frame in range(int(length)) if frame != int(key)]
                expected = frames if int(length) > int(count) else others
                result.equal(f"reference_frames[{length}][{count}][{key}]", ours, expected)
