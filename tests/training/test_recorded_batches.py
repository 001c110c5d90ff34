"""Recorded training steps of the authors' code, reproduced from samples: Collator, processor, model, losses, gradients.

`verify` feeds recorded token ids to the model. Here nothing but the pixels is fed: samples with an instruction, a mask
and an explanation go through the collator that training uses, with a tokenizer whose ids are the recorded ones.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Replace, Sequence
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from instructseg.model.image_processing import InstructSegImageProcessor
from instructseg.model.layout import IGNORE
from instructseg.model.losses import Criterion
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import RELEASED_SYSTEM, SEG_TOKEN
from instructseg.training.data.collate import Collator
from instructseg.training.objective import Objective
from instructseg.types import Expression, Sample, Task
from instructseg.verification.criterion import gradient_of
from instructseg.verification.model import RELEASED_WEIGHTS, RecordedModel
from instructseg.verification.recording import Comparison, RecordedPoints, Recording

END = "</s>"
PRIVATE = 0xE000
SIDE = 128
WORDS = {"what": 20, " here": 21, " can": 22, " fly": 23, "the": 24, " bird": 25, "it": 30, " flies": 31}
EXPLANATION = "it flies"
INSTRUCTIONS = ("what here can fly", "the bird")
# The parts of the released templates, each with the id that stands for it in the recordings.
PIECES = [
    (RELEASED_SYSTEM, 3), (" USER: ", 4), ("This is an image ", 5), ("There are reference frames", 5),
    (" and key frame ", 6), ("\nThis is all the", 9), ("\nSure, the segmentation result", 13), (" is ", 14),
    (", please doing {} Segmentation according to the following instruction", 8),
    (". Please doing {} Segmentation according to the following instruction.", 8),
    (" and explain why:\n", 9), (":\n", 9), (" instruction: ", 10), (" ASSISTANT", 11),
    (":", 12), ("\n", 7), (" ", 7),
]  # fmt: skip
CASES = {"reasonseg": Task.REASON_SEG, "refcoco": Task.RES, "revos": Task.REASON_VOS}


def recorded_tokenizer() -> PreTrainedTokenizerFast:
    """Tokenizes the released templates and the test's instructions into the recorded ids, one character per id."""
    kinds = ("Reasoning", "Referring")
    pieces = [(text.format(kind), number) for text, number in PIECES for kind in (kinds if "{}" in text else ("",))]
    replaced = [Replace(text, chr(PRIVATE + number)) for text, number in [*pieces[:-3], *WORDS.items(), *pieces[-3:]]]
    ids = {number for _, number in pieces} | set(WORDS.values())
    vocabulary = {chr(PRIVATE + number): number for number in ids}
    words = Tokenizer(WordLevel(vocabulary | {"<unk>": 0, END: 95, SEG_TOKEN: 96}, unk_token="<unk>"))
    words.normalizer = Sequence(replaced)
    words.pre_tokenizer = Split(Regex("."), "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token=END, pad_token=END)
    fast.add_tokens([SEG_TOKEN, END], special_tokens=True)
    return fast


class RecordedPixels(InstructSegImageProcessor):
    """Gives the recorded pixels of the photo whose number every pixel holds; recorded pixels are no photo's."""

    def prepare(self, image: np.ndarray) -> torch.Tensor:
        return self.recorded["images"].flatten(0, -4)[int(image[0, 0, 0])]

    def prepare_clip(self, image: np.ndarray) -> torch.Tensor:
        clips = self.recorded["images_clip"]
        return clips.view(len(INSTRUCTIONS), -1, *clips.shape[-3:])[tuple(image[0, 0, :2].tolist())]


def numbered(photo: int, frame: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), (photo, frame, 0), np.uint8)


def samples(recording: Recording, task: Task) -> list[Sample]:
    """One sample per recorded row; the first reply of ReasonSeg explains. Frame 0 of a clip is its key frame."""
    frames = recording.inputs["images_clip"].shape[1] if task.is_video else 1
    made = []
    for row, text in enumerate(INSTRUCTIONS):
        mask = recording.inputs[f"gt_mask{row}"][0].bool().numpy()
        answer = EXPLANATION if row == 0 else None
        photos = tuple(numbered(row, frame) for frame in range(frames))
        made.append(Sample(f"recorded/{row}", task, photos, (Expression(text, mask, id="0", answer=answer),), key=0))
    return made


@pytest.fixture(scope="module")
def golden(shared_data) -> Path:
    folder = shared_data / "reference" / "golden"
    if not folder.is_dir():
        pytest.skip(f"no recorded tensors: {folder} is not a folder")
    return folder


@pytest.fixture(scope="module")
def recorded(golden) -> RecordedModel:
    return RecordedModel(Recording.read(golden / "model_tiny_weights.safetensors"))


def collated(recorded: RecordedModel, case: Recording, task: Task):
    processor = InstructSegProcessor.for_config(recorded.model.config, recorded_tokenizer())
    processor.image_processor = RecordedPixels(side=SIDE, clip_side=processor.image_processor.clip_side)
    processor.image_processor.recorded = case.inputs
    return Collator(processor, text_loss="reason_seg", explanation_probability=1.0)(samples(case, task))


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_of_a_recorded_step(golden, recorded, name):
    case, model = Recording.read(golden / f"model_tiny_train_{name}.safetensors"), recorded.model
    batch = collated(recorded, case, CASES[name])
    points = [tensor for key, tensor in sorted(case.inputs.items()) if key.startswith("rand.")]
    model.criterion = Criterion(RELEASED_WEIGHTS, recorded.meta["mask_former"]["TRAIN_NUM_POINTS"],
                                draw=RecordedPoints(points))  # fmt: skip
    model.zero_grad()
    loss, parts = Objective(model)(batch.inputs, batch.targets, batch.normalizers, seed=0)
    loss.backward()
    expected, result = case.outputs, Comparison()
    assert (name == "reasonseg") == ("text" in parts) == bool(expected["loss_llm"])
    for ours, recorded_loss in (
        (loss, expected["loss"]), (parts["mask"], expected["loss_mask"]), (parts["dice"], expected["loss_dice"]),
        (parts["score"], expected["loss_SEG_class"] + expected["loss_rvos_class"]),
        (parts.get("text", torch.zeros(())), expected["loss_llm"]),
    ):  # fmt: skip
        result.close("loss", ours.view(1), recorded_loss)
    parameters, gradients = dict(model.named_parameters()), 0
    for key, value in expected.items():
        if key.startswith("grad."):
            for target, gradient in recorded.plan.mappings[key.removeprefix("grad.")].apply(value):
                result.close(key, gradient_of(parameters[target]), gradient)
                gradients += 1
    assert not result.mismatches and gradients >= 9, str(result)


def test_the_collator_builds_the_recorded_sequence_and_labels(golden, recorded):
    case = Recording.read(golden / "model_tiny_train_reasonseg.safetensors")
    layout = collated(recorded, case, Task.REASON_SEG).inputs.layout
    for row in range(2):
        text = (layout.segments[row] != -1) & (layout.token_ids[row] != 0)
        refer = case.inputs[f"refer{row}"].tolist()
        ids, labels = case.inputs["input_ids"][row].tolist(), case.inputs["labels"][row].tolist()
        length = ids.index(95) + 1
        expected = [word for each in ids[:length] for word in (refer if each == -204 else [each]) if word > 0]
        assert layout.token_ids[row][text].tolist() == expected
        labelled = layout.labels[row] != IGNORE
        assert layout.labels[row][labelled].tolist() == [each for each in labels[:length] if each >= 0]
