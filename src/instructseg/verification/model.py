"""Compare our complete model with recorded runs of the released one: losses, gradients and the stages' outputs."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from instructseg.conversion import released
from instructseg.model.image_processing import Geometry, InstructSegImageProcessor
from instructseg.model.layout import PADDING, PREFIX, Block, Layout, PromptSpan, TokenCounts, build_layout
from instructseg.model.losses import Criterion, LossWeights, Targets, text_loss
from instructseg.model.modeling import InstructSegModel, LanguageModelOutput, VisualFeatures
from instructseg.model.proposals import mask_quality
from instructseg.verification.criterion import gradient_of, one_instruction
from instructseg.verification.prompts import PLACEHOLDER_IDS
from instructseg.verification.recording import Comparison, RecordedPoints, Recording, load_recorded
from instructseg.verification.sizes import config_of

RELEASED_WEIGHTS = LossWeights(mask=5.0, dice=5.0, score=2.0, text=1.0)
WITH_TEXT_LOSS = ("mm_conv", "reason_seg")
UNSURE = 1e-5
"""Mask logits closer to 0 than this may have either sign, so their pixels are not compared."""


class RecordedModel:
    """Our model with the recorded weights, to run recorded cases through."""

    def __init__(self, weights: Recording) -> None:
        shapes = {key: tuple(tensor.shape) for key, tensor in weights.weights.items()}
        self.meta = weights.meta
        self.model = InstructSegModel(config_of(self.meta, shapes)).eval()
        self.plan = load_recorded(self.model, "released", released.TABLE, weights.weights, released.FRESH)

    def check(self, case: Recording, result: Comparison) -> None:
        """Compare a conversation, a training step or a prediction, depending on the inputs of the case."""
        if "input_ids" not in case.inputs:
            raise KeyError("input_ids")
        if "images" not in case.inputs:
            self._check_conversation(case, result)
        elif "gt_mask0" in case.inputs:
            self._check_training(case, result)
        else:
            self._check_evaluation(case, result)

    def _check_evaluation(self, case: Recording, result: Comparison) -> None:
        run = _Run(self, case)
        run.compare_stages(result)
        heads = run.heads
        masks, scores = heads[-1].mask_logits[0, 0], heads[-1].score_logits[0, 0].sigmoid()
        inside = (case.inputs["padding_mask"] == 0).nonzero().amax(0) + 1
        side = case.inputs["padding_mask"].shape[0]
        geometry = Geometry((case.meta["height"], case.meta["width"]), (int(inside[0]), int(inside[1])), side)
        full = InstructSegImageProcessor(side=side, resize="pad").restore(masks, geometry)
        ranked = scores * mask_quality(full)
        result.close("scores_sorted", ranked.sort(descending=True).values, case.outputs["scores_sorted"])
        best, recorded = full[ranked.argmax()], case.outputs["best_mask"]
        if case.meta["use_soft"]:
            result.close("best_mask", best.sigmoid(), recorded)
        else:
            compared = best.abs() > UNSURE
            result.close("best_mask", (best > 0).float()[compared], recorded[compared])

    def _check_training(self, case: Recording, result: Comparison) -> None:
        run = _Run(self, case)
        run.compare_stages(result)
        points = [tensor for name, tensor in sorted(case.inputs.items()) if name.startswith("rand.")]
        decoder = self.meta["mask_former"]
        self.model.criterion = Criterion(RELEASED_WEIGHTS, decoder["TRAIN_NUM_POINTS"], draw=RecordedPoints(points))
        self.model.zero_grad()
        with torch.enable_grad():
            output = self.model(run.pixels, run.layout, run.references, run.clip, run.targets())
            output.loss.backward()
        outputs, parts = case.outputs, output.parts
        losses = {
            "loss": (output.loss, outputs["loss"]),
            "mask": (parts["mask"], outputs["loss_mask"]),
            "dice": (parts["dice"], outputs["loss_dice"]),
            "score": (parts["score"], outputs["loss_SEG_class"] + outputs["loss_rvos_class"]),
            "text": (parts.get("text", torch.zeros(())), outputs["loss_llm"]),
        }
        for name, (ours, recorded) in losses.items():
            result.close(name, ours.view(1), recorded)
        self._compare_gradients(outputs, result)

    def _compare_gradients(self, outputs: dict[str, Tensor], result: Comparison) -> None:
        parameters = dict(self.model.named_parameters())
        for name, recorded in outputs.items():
            key = name.removeprefix("grad.")
            if key != name:
                for target, gradient in self.plan.mappings[key].apply(recorded):
                    result.close(name, gradient_of(parameters[target]), gradient)

    def _check_conversation(self, case: Recording, result: Comparison) -> None:
        run = _Run(self, case)
        run.compare_language_model(result)
        loss = text_loss(run.hidden.hidden_states, run.layout.labels, self.model.lm_head)["text"]
        result.close("loss", loss.view(1), case.outputs["loss"])


class _Run:
    """One recorded case run through the stages of our model."""

    def __init__(self, recorded: RecordedModel, case: Recording) -> None:
        self.model, self.case, self.sizes = recorded.model, case, recorded.meta
        inputs, model = case.inputs, self.model
        clip = inputs["images_clip"]
        clip = clip if clip.ndim == 5 else clip[:, None]
        batch, frames = clip.shape[:2]
        self.clip = torch.cat([clip[:, 0], clip[:, 1:].flatten(0, 1)])
        indices = [list(range(batch + row * (frames - 1), batch + (row + 1) * (frames - 1))) for row in range(batch)]
        self.references = torch.tensor([frames or [row] for row, frames in enumerate(indices)])
        self.layout = self._layout(batch, max(1, frames - 1))
        self.taps: dict[str, Tensor] = {}
        self.pixels = inputs["images"].flatten(0, -4) if "images" in inputs else None
        tapped = {"projector": "vision_tokens.projector", "fused": "text_fusion.output_projection"}
        with _Taps(self.taps, **{name: model.get_submodule(path) for name, path in tapped.items()}):
            if self.pixels is None:
                self.visual = VisualFeatures(model.vision_tokens(self.clip))
                perceived = None
            else:
                self.visual = model.encode_image(self.pixels, self.clip, batch)
                perceived = model.perceive(self.visual, self.layout, self.references)
            self.perceived = perceived
            self.embeddings = model.embed(self.layout, self.visual, perceived)
            self.hidden: LanguageModelOutput = model.reason(self.layout, self.visual, perceived)
            if self.pixels is not None:
                self.text = model.fuse(self.hidden, self.visual)
                self.heads = model.decode(self.visual, self.hidden.mask_embeddings, self.text)

    def _layout(self, batch: int, frames: int) -> Layout:
        inputs = self.case.inputs
        labels = inputs.get("labels") if self.case.meta.get("dataset_type") in WITH_TEXT_LOSS else None
        prompts = [
            _prompt(
                inputs["input_ids"][row].tolist(), self._words(row), inputs["attention_mask"][row].tolist(),
                None if labels is None else labels[row].tolist(),
            )
            for row in range(batch)
        ]  # fmt: skip
        config = self.model.config
        vision, perceiver = config.vision_config, config.perceiver_config
        assert vision is not None and perceiver is not None  # the released model has both
        image = (vision.image_size // vision.patch_size) ** 2
        counts = TokenCounts(image, perceiver.num_latents, config.num_mask_tokens)
        return build_layout([[prompt] for prompt in prompts], [frames] * batch, counts)

    def _words(self, row: int) -> list[int]:
        ids = self.case.inputs.get("token_refer_id", self.case.inputs.get(f"refer{row}"))
        return [] if ids is None else ids.tolist()

    def targets(self) -> Targets:
        masks = [self.case.inputs[f"gt_mask{row}"] for row in range(len(self.references))]
        return one_instruction(masks)

    def compare_stages(self, result: Comparison) -> None:
        self.compare_language_model(result)
        outputs, visual = self.case.outputs, self.visual
        time = self.references.shape[1]
        assert self.perceived is not None and visual.pixels is not None
        ovp = self.perceived[:, 0].unflatten(1, (time, -1))
        self._per_sample("ovp_out", ovp[:, None], result)
        self._per_sample("vmtf_out", self.taps["fused.in"].flatten(0, -2)[:, None, None].chunk(2, -1)[1], result)
        final = self.heads[-1]
        for name, ours in {
            "E_m": self.hidden.mask_embeddings[:, 0],
            "E_v": self.text,
            "mask_queries": self.model.query_projection(self.hidden.mask_embeddings)[:, 0],
            "res5": visual.coarsest,
            "mask_features": visual.pixels.mask_features,
            "pred_masks": final.mask_logits[:, 0],
            "pred_SEG_logits": final.score_logits[:, 0, :, None],
        }.items():
            result.close(name, ours, outputs[f"{name}.0"])

    def _per_sample(self, name: str, ours: Tensor, result: Comparison) -> None:
        """Compare a recorded module that was called once per sample, each with a batch of one."""
        for row, value in enumerate(ours):
            result.close(f"{name}.{row}", value, self.case.outputs[f"{name}.{row}"])

    def compare_language_model(self, result: Comparison) -> None:
        """Compare visual tokens, the sequence, its attention mask, and the hidden states of all but padding."""
        outputs, batch = self.case.outputs, len(self.references)
        features, tokens = self.taps["projector.in"], self.taps["projector.out"]
        for call, rows in enumerate(self._calls(batch)):
            result.close(f"siglip_feat.{call}", features[rows], outputs[f"siglip_feat.{call}"])
            result.close(f"projected.{call}", tokens[rows], outputs[f"projected.{call}"])
        visible, real = self.layout.segments >= PREFIX, self.layout.segments != PADDING
        result.equal("attention_mask", visible.to(torch.uint8), outputs["attention_mask.0"])
        result.close("inputs_embeds", self.embeddings[real], outputs["inputs_embeds.0"][real])
        result.close("llm_hidden", self.hidden.hidden_states[real], outputs["llm_hidden.0"][real])
        if "logits" in outputs:
            logits = self.model.lm_head(self.hidden.hidden_states)
            result.close("logits", logits[real], outputs["logits"][real])

    def _calls(self, batch: int) -> list[list[int]]:
        """Frames in each recorded call of the encoder: a photo twice, or a video's references, then its key frames."""
        keys = list(range(batch))
        calls = sum(name.startswith("siglip_feat.") for name in self.case.outputs)
        if len(self.clip) == batch:
            return [keys] * calls
        return [*(list(column) for column in self.references.T.tolist()), keys]


def _prompt(
    ids: list[int], instruction: list[int], attention_mask: list[int], labels: list[int] | None
) -> list[PromptSpan]:
    """A recorded prompt as spans; text that the attention mask excludes (end tokens and padding) is not visible."""
    blocks = {placeholder: block for block, placeholder in PLACEHOLDER_IDS.items()}
    spans: list[PromptSpan] = []
    for index, token in enumerate(ids):
        block = blocks.get(token, Block.TEXT)
        if block is not Block.TEXT:
            spans.append(PromptSpan(block, tuple(instruction) if block is Block.INSTRUCTION else ()))
        else:
            label = None if labels is None else (labels[index],)
            spans.append(PromptSpan(Block.TEXT, (token,), label, bool(attention_mask[index])))
    return spans


class _Taps:
    """Context manager that stores inputs and outputs of modules in `taps` under `name.in` and `name.out`."""

    def __init__(self, taps: dict[str, Tensor], **modules: nn.Module) -> None:
        self.taps, self.modules = taps, modules

    def __enter__(self) -> None:
        self.handles = [
            module.register_forward_hook(partial(self._store, name)) for name, module in self.modules.items()
        ]

    def _store(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.taps |= {f"{name}.in": inputs[0], f"{name}.out": output}

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
