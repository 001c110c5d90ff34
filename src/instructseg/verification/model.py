"""Our whole model against recorded runs of the released one: losses, gradients and what flows between the stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from instructseg.conversion import released
from instructseg.conversion.rename import Plan
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.image_processing import Geometry, InstructSegImageProcessor
from instructseg.model.layout import PADDING, PREFIX, Block, Layout, Piece, build_layout
from instructseg.model.losses import Criterion, LossWeights, Targets, text_loss
from instructseg.model.modeling import InstructSegModel, LanguageModelOutput, VisualFeatures
from instructseg.model.processing import mask_quality
from instructseg.verification.modules import one_instruction, perceiver_sizes
from instructseg.verification.prompts import PLACEHOLDER_IDS
from instructseg.verification.recorded import Comparison, Recorded, RecordedPoints, fill

RELEASED_WEIGHTS = LossWeights(mask=5.0, dice=5.0, score=2.0, text=1.0)
WITH_TEXT_LOSS = ("mm_conv", "reason_seg")
UNSURE = 1e-5


class RecordedModel:
    """The recorded weights in our model, and what is needed to run a recorded case through it."""

    def __init__(self, weights: Recorded):
        shapes = {key: tuple(tensor.shape) for key, tensor in weights.weights.items()}
        self.meta = weights.meta
        self.model = InstructSegModel(config_of(self.meta, shapes)).eval()
        self.plan: Plan = fill(self.model, "released", released.TABLE, weights.weights, released.FRESH)

    def check(self, case: Recorded, result: Comparison) -> None:
        if "input_ids" not in case.inputs:
            raise KeyError("input_ids")
        if "images" not in case.inputs:
            self._check_conversation(case, result)
        elif "gt_mask0" in case.inputs:
            self._check_training(case, result)
        else:
            self._check_evaluation(case, result)

    def _check_evaluation(self, case: Recorded, result: Comparison) -> None:
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
        best, wanted = full[ranked.argmax()], case.outputs["best_mask"]
        if case.meta["use_soft"]:
            result.close("best_mask", best.sigmoid(), wanted)
        else:
            sure = best.abs() > UNSURE
            result.close("best_mask", (best > 0).float()[sure], wanted[sure])

    def _check_training(self, case: Recorded, result: Comparison) -> None:
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
        wanted = {
            "loss": (output.loss, outputs["loss"]),
            "mask": (parts["mask"], outputs["loss_mask"]),
            "dice": (parts["dice"], outputs["loss_dice"]),
            "score": (parts["score"], outputs["loss_SEG_class"] + outputs["loss_rvos_class"]),
            "text": (parts.get("text", torch.zeros(())), outputs["loss_llm"]),
        }
        for name, (ours, recorded) in wanted.items():
            result.close(name, ours.view(1), recorded)
        self._compare_gradients(outputs, result)

    def _compare_gradients(self, outputs: dict[str, Tensor], result: Comparison) -> None:
        parameters = dict(self.model.named_parameters())
        for name, recorded in outputs.items():
            key = name.removeprefix("grad.")
            if key != name:
                for target, part in self.plan.moves[key].apply(recorded):
                    result.close(name, parameters[target].grad, part)

    def _check_conversation(self, case: Recorded, result: Comparison) -> None:
        run = _Run(self, case)
        run.compare_language_model(result)
        loss = text_loss(run.hidden.hidden_states, run.layout.labels, self.model.lm_head)["text"]
        result.close("loss", loss.view(1), case.outputs["loss"])


class _Run:
    """One recorded case through the stages of our model."""

    def __init__(self, recorded: RecordedModel, case: Recorded):
        self.model, self.case, self.sizes = recorded.model, case, recorded.meta
        inputs, model = case.inputs, self.model
        clip = inputs["images_clip"]
        clip = clip if clip.ndim == 5 else clip[:, None]
        batch, frames = clip.shape[:2]
        self.clip = torch.cat([clip[:, 0], clip[:, 1:].flatten(0, 1)])
        table = [list(range(batch + row * (frames - 1), batch + (row + 1) * (frames - 1))) for row in range(batch)]
        self.references = torch.tensor([line or [row] for row, line in enumerate(table)])
        self.layout = self._layout(batch, max(1, frames - 1))
        self.taps: dict[str, Tensor] = {}
        self.pixels = inputs["images"].flatten(0, -4) if "images" in inputs else None
        with _listen(self.taps, projector=model.vision_tokens.projector, fused=model.text_fusion.output_projection):
            if self.pixels is None:
                self.visual = VisualFeatures(model.vision_tokens(self.clip))
                found = None
            else:
                self.visual = model.encode_image(self.pixels, self.clip, batch)
                found = model.perceive(self.visual, self.layout, self.references)
            self.perceived = found
            self.embeddings = model.embed(self.layout, self.visual, found)
            self.hidden: LanguageModelOutput = model.reason(self.layout, self.visual, found)
            if self.pixels is not None:
                self.text = model.fuse(self.hidden, self.visual)
                self.heads = model.decode(self.visual, self.hidden.mask_embeddings, self.text)

    def _layout(self, batch: int, frames: int) -> Layout:
        inputs = self.case.inputs
        labels = inputs.get("labels") if self.case.meta.get("dataset_type") in WITH_TEXT_LOSS else None
        prompts = [
            _pieces(
                inputs["input_ids"][row].tolist(), self._words(row), inputs["attention_mask"][row].tolist(),
                None if labels is None else labels[row].tolist(),
            )
            for row in range(batch)
        ]  # fmt: skip
        image = self.model.vision_tokens.encoder.embeddings.num_patches
        return build_layout([[pieces] for pieces in prompts], [frames] * batch, self.model.block_sizes(image))

    def _words(self, row: int) -> list[int]:
        words = self.case.inputs.get("token_refer_id", self.case.inputs.get(f"refer{row}"))
        return [] if words is None else words.tolist()

    def targets(self) -> Targets:
        masks = [self.case.inputs[f"gt_mask{row}"] for row in range(len(self.references))]
        return one_instruction(masks)

    def compare_stages(self, result: Comparison) -> None:
        self.compare_language_model(result)
        outputs, visual = self.case.outputs, self.visual
        time = self.references.shape[1]
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
        """A tap that was called once a sample, each with a batch of one."""
        for row, value in enumerate(ours):
            result.close(f"{name}.{row}", value, self.case.outputs[f"{name}.{row}"])

    def compare_language_model(self, result: Comparison) -> None:
        """Visual tokens, the sequence, what it attends to, and the hidden states of all but padding."""
        outputs, batch = self.case.outputs, len(self.references)
        features, tokens = self.taps["projector.in"], self.taps["projector.out"]
        for call, rows in enumerate(self._calls(batch)):
            result.close(f"siglip_feat.{call}", features[rows], outputs[f"siglip_feat.{call}"])
            result.close(f"projected.{call}", tokens[rows], outputs[f"projected.{call}"])
        seen, real = self.layout.segments >= PREFIX, self.layout.segments != PADDING
        result.equal("attention_mask", seen.to(torch.uint8), outputs["attention_mask.0"])
        result.close("inputs_embeds", self.embeddings[real], outputs["inputs_embeds.0"][real])
        result.close("llm_hidden", self.hidden.hidden_states[real], outputs["llm_hidden.0"][real])
        if "logits" in outputs:
            logits = self.model.lm_head(self.hidden.hidden_states)
            result.close("logits", logits[real], outputs["logits"][real])

    def _calls(self, batch: int) -> list[list[int]]:
        """Frames of each recorded call of the encoder: a photo twice, a video's references and then its key frames."""
        keys = list(range(batch))
        calls = sum(name.startswith("siglip_feat.") for name in self.case.outputs)
        if len(self.clip) == batch:
            return [keys] * calls
        return [*(list(column) for column in self.references.T.tolist()), keys]


def _pieces(ids: list[int], words: list[int], seen: list[int], labels: list[int] | None) -> list[Piece]:
    """A recorded prompt as ours; text that attention masks out (end tokens and padding) is unseen."""
    blocks = {place: block for block, place in PLACEHOLDER_IDS.items()}
    pieces: list[Piece] = []
    for at, word in enumerate(ids):
        block = blocks.get(word, Block.TEXT)
        if block is not Block.TEXT:
            pieces.append(Piece(block, tuple(words) if block is Block.INSTRUCTION else ()))
        else:
            label = None if labels is None else (labels[at],)
            pieces.append(Piece(Block.TEXT, (word,), label, bool(seen[at])))
    return pieces


class _listen:
    """While open, keeps inputs and outputs of modules under `name.in` and `name.out`."""

    def __init__(self, taps: dict[str, Tensor], **modules: nn.Module):
        self.taps, self.modules = taps, modules

    def __enter__(self) -> None:
        self.handles = [
            module.register_forward_hook(
                lambda _, given, out, name=name: self.taps.update({f"{name}.in": given[0], f"{name}.out": out})
            )
            for name, module in self.modules.items()
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def config_of(meta: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> InstructSegConfig:
    """Our configuration of a recorded model, from its own words for sizes."""
    text, vision, decoder, head = dict(meta["llm"]), dict(meta["siglip"]), meta["mask_former"], meta["head"]
    rope = {"rope_theta": text.pop("rope_theta"), "partial_rotary_factor": text.pop("partial_rotary_factor")}
    layer = vision.pop("mm_vision_select_layer")
    vision = {key: value for key, value in vision.items() if not key.startswith(("mm_", "vision_model"))}
    if head["CONVS_DIM"] != decoder["HIDDEN_DIM"]:
        raise ValueError("the two decoders' widths differ; ours share one")
    config = InstructSegConfig(
        text_config={"model_type": "phi", **text, "rope_parameters": {"rope_type": "default", **rope}},
        vision_config={"model_type": "siglip_vision_model", **vision, "vision_use_head": False},
        backbone_config={
            "model_type": "swin", **meta["swin"], "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        perceiver_config={"num_latents": meta["n_temporal_queries"], **perceiver_sizes(meta["ovp"])},
        text_fusion_config={"hidden_size": meta["vmtf"]["dim"], **perceiver_sizes(meta["vmtf"])},
        decoder_config={
            "hidden_size": decoder["HIDDEN_DIM"], "mask_size": head["MASK_DIM"], "num_heads": decoder["NHEADS"],
            "pixel_layers": head["TRANSFORMER_ENC_LAYERS"], "pixel_ffn_size": meta["pixel_decoder_ffn"],
            "decoder_layers": decoder["DEC_LAYERS"] - 1, "ffn_size": decoder["DIM_FEEDFORWARD"],
        },
        num_mask_tokens=decoder["NUM_OBJECT_QUERIES"], vision_feature_layer=layer,
    )  # fmt: skip
    return released.with_released_behaviour(released.with_rows_of(config, shapes))
