"""Mask2Former (Cheng et al., 2022) as detectron2 saves it: Swin, pixel decoder, masked-attention decoder."""

from __future__ import annotations

from instructseg.conversion.rules import Fresh, Ignore, Rename, Rule, Split, with_prefix

_BLOCK, _OUR_BLOCK = "layers.{s}.blocks.{b}.", "encoder.layers.{s}.blocks.{b}."

SWIN: tuple[Rule, ...] = (
    Rename("patch_embed.proj.*", "swin.embeddings.patch_embeddings.projection.*"),
    Rename("patch_embed.norm.*", "swin.embeddings.norm.*"),
    *with_prefix(
        (
            Rename("norm1.*", "layernorm_before.*"),
            Rename("norm2.*", "layernorm_after.*"),
            *(
                Split(f"attn.qkv.{kind}", tuple(f"attention.{part}_proj.{kind}" for part in "qkv"))
                for kind in ("weight", "bias")
            ),
            Rename("attn.proj.*", "attention.o_proj.*"),
            Rename(
                "attn.relative_position_bias_table",
                "attention.relative_position_bias.relative_position_bias_table",
            ),
            Ignore("attn.relative_position_index", "follows from the window size"),
            Rename("mlp.*", "mlp.*"),
        ),
        _BLOCK,
        f"swin.{_OUR_BLOCK}",
    ),
    Rename("layers.{s}.downsample.*", "swin.encoder.layers.{s}.downsample.*"),
    *(Rename(f"norm{level}.*", f"hidden_states_norms.stage{level + 1}.*") for level in range(4)),
)

# transformers' backbone has a final norm that its feature maps do not use.
SWIN_FRESH = (Fresh("backbone.swin.layernorm.*", "unused: the feature maps have their own norms"),)

PIXEL_ENCODER: tuple[Rule, ...] = (
    Rename("input_proj.{i}.*", "input_projections.{i}.*"),
    Rename("transformer.level_embed", "level_embed"),
    Rename("transformer.encoder.layers.{i}.*", "layers.{i}.*"),
    Rename("mask_features.*", "mask_projection.*"),
)

# The FPN under detectron2's names: convolutions without bias, each followed by a norm.
FPN: tuple[Rule, ...] = (
    Rename("adapter_1.weight", "lateral.0.weight"),
    Rename("adapter_1.norm.*", "lateral.1.*"),
    Rename("layer_1.weight", "fpn.0.weight"),
    Rename("layer_1.norm.*", "fpn.1.*"),
)


def _attention(source: str, target: str) -> tuple[Rule, ...]:
    """torch's multi-head attention, which stores the query, key and value projections as one tensor."""
    fused = (Split(f"in_proj_{kind}", tuple(f"{part}_proj.{kind}" for part in "qkv")) for kind in ("weight", "bias"))
    return with_prefix((*fused, Rename("out_proj.*", "out_proj.*")), source, target)


_CROSS, _SELF, _FFN = (f"transformer_{kind}_layers.{{i}}." for kind in ("cross_attention", "self_attention", "ffn"))

MASK_DECODER: tuple[Rule, ...] = (
    *_attention(f"{_CROSS}multihead_attn.", "layers.{i}.cross_attn."),
    Rename(f"{_CROSS}norm.*", "layers.{i}.cross_attn_norm.*"),
    *_attention(f"{_SELF}self_attn.", "layers.{i}.self_attn."),
    Rename(f"{_SELF}norm.*", "layers.{i}.self_attn_norm.*"),
    Rename(f"{_FFN}linear1.*", "layers.{i}.linear1.*"),
    Rename(f"{_FFN}linear2.*", "layers.{i}.linear2.*"),
    Rename(f"{_FFN}norm.*", "layers.{i}.ffn_norm.*"),
    Rename("decoder_norm.*", "norm.*"),
    Rename("level_embed.weight", "level_embed"),
    *(Rename(f"mask_embed.layers.{layer}.*", f"mask_embed.{2 * layer}.*") for layer in range(3)),
    Ignore("query_feat.weight", "the queries come from the language model"),
)

TABLE: tuple[Rule, ...] = (
    *with_prefix(SWIN, "backbone.", "backbone."),
    *with_prefix((*PIXEL_ENCODER, *FPN), "sem_seg_head.pixel_decoder.", "pixel_decoder."),
    *with_prefix(
        (
            *MASK_DECODER,
            Rename("query_embed.weight", "query_embed", rows="first"),  # 200 with Swin-L, otherwise 100
            Ignore("static_query.weight", "the queries come from the language model"),
            Ignore("class_embed.*", "masks are scored by the instruction's embedding, not by classes"),
        ),
        "sem_seg_head.predictor.",
        "mask_decoder.",
    ),
    Ignore("criterion.*", "belongs to Mask2Former's own loss"),
    Ignore("pixel_mean", "the image processor normalizes"),
    Ignore("pixel_std", "the image processor normalizes"),
)
