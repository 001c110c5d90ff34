"""Conversions from source files to a folder for `from_pretrained`, with a report on every key."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from instructseg.conversion import mask2former, mipha, released, siglip
from instructseg.conversion.fresh import fresh_tensors, shapes_of
from instructseg.conversion.reading import WeightFiles
from instructseg.conversion.rename import ConversionPlan, Shape, check_complete, make_plan
from instructseg.conversion.rules import Fresh
from instructseg.conversion.writing import refuse_occupied, write_folder
from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.presets import paper
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import SEG_TOKEN

REPORT = "conversion.json"

BASE_FRESH: tuple[Fresh, ...] = (
    *mask2former.SWIN_FRESH,
    Fresh("mask_tokens", "the paper's own: mask tokens"),
    Fresh("query_projection.*", "the paper's own: mask embeddings to the decoder's width"),
    Fresh("perceiver.*", "the paper's own: OVP"),
    Fresh("text_fusion.*", "the paper's own: VMTF"),
    Fresh("pooled_text.*", "the paper's own: scores without VMTF"),
    Fresh("mask_decoder.score_embed.*", "the paper's own: scores by text similarity"),
    Fresh("mask_decoder.text_to_pixel_head.*", "an auxiliary head"),
    Fresh("pixel_classification_head.*", "an auxiliary head"),
    Fresh("pixel_decoder.position_projection.*", "positions in the mask features, an option of ours"),
    Fresh("pixel_decoder.lateral.0.bias", "Mask2Former's convolution has none; it starts at zero"),
    Fresh("pixel_decoder.fpn.0.bias", "Mask2Former's convolution has none; it starts at zero"),
)


@dataclass(frozen=True)
class ConversionReport:
    """How a conversion used every key."""

    used: dict[str, list[str]]
    """Source key -> names of the model's tensors it fills."""

    ignored: dict[str, str]
    """Source key -> reason why it is not used."""

    fresh: dict[str, str]
    """Name of a tensor that no source fills -> reason."""

    files: dict[str, str]
    """Source file -> sha256."""

    def summary(self) -> list[str]:
        """A readable summary: counts, and each reason with its number of tensors."""
        lines = [f"{len(self.used)} tensors used, {len(self.ignored)} ignored, {len(self.fresh)} fresh"]
        for title, table in (("ignored", self.ignored), ("fresh", self.fresh)):
            for reason in dict.fromkeys(table.values()):
                keys = [key for key, value in table.items() if value == reason]
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                lines.append(f"{title}: {keys[0]}{more} ({reason})")
        return lines


def convert_released(source: Path, destination: Path, config: InstructSegConfig | None = None) -> ConversionReport:
    """Convert the authors' checkpoint into a model that reproduces its behaviour.

    Args:
        source: a folder or a file; if there is a tokenizer, it is saved too, as part of a matching processor.
        destination: the folder to write; must not exist or must be empty.
        config: the model sizes, by default the paper's; the vocabulary size is read from the file, and the released
            behaviour is enabled.

    Raises CheckpointError if a file cannot be read or does not match the configuration, or if `destination` is not
    empty, and InputError if it cannot be written.
    """
    refuse_occupied(destination)
    weights = WeightFiles(source)
    shapes = weights.shapes()
    config = released.with_released_behaviour(released.with_rows_of(config or paper(), shapes))
    target = shapes_of(config)
    plan = make_plan("released", released.TABLE, shapes, target)
    fresh = check_complete([plan], target, released.FRESH)
    tokenizer = _tokenizer(source)
    if tokenizer is not None and SEG_TOKEN not in tokenizer.get_vocab():
        raise CheckpointError(f"expected a tokenizer with {SEG_TOKEN} in {source}, got another; use the released one")
    return _write(destination, config, [(weights, plan)], fresh, tokenizer)


def convert_base(
    mipha_source: Path,
    mask2former_source: Path,
    destination: Path,
    config: InstructSegConfig | None = None,
    siglip_source: Path | None = None,
) -> ConversionReport:
    """Convert the initial weights of a training run: Mipha and Mask2Former; the paper's own modules are initialized.

    Args:
        mipha_source: a folder or file; the tokenizer beside it gets the [SEG] token, and the word embeddings get a row
            for it unless they have a spare one.
        mask2former_source: a folder or file, e.g. detectron2's .pkl.
        destination: the folder to write; must not exist or must be empty.
        config: the model sizes, by default the paper's.
        siglip_source: replaces the CLIP-type encoder that Mipha was trained with.

    Raises CheckpointError and InputError as `convert_released` does.
    """
    refuse_occupied(destination)
    sources = {
        "mipha": (WeightFiles(mipha_source), mipha.TABLE_WITHOUT_ENCODER if siglip_source else mipha.TABLE),
        "mask2former": (WeightFiles(mask2former_source), mask2former.TABLE),
    }
    if siglip_source:
        sources["siglip"] = (WeightFiles(siglip_source), siglip.TABLE)
    shapes = {name: weights.shapes() for name, (weights, _) in sources.items()}
    tokenizer = _tokenizer(mipha_source)
    if tokenizer is not None:
        tokenizer.add_tokens(SEG_TOKEN, special_tokens=True)
    config = _with_room_for(config or paper(), shapes["mipha"], tokenizer)
    target = shapes_of(config)
    plans = [(weights, make_plan(name, rules, shapes[name], target)) for name, (weights, rules) in sources.items()]
    fresh = check_complete([plan for _, plan in plans], target, BASE_FRESH)
    return _write(destination, config, plans, fresh, tokenizer)


def _with_room_for(
    config: InstructSegConfig, shapes: Mapping[str, Shape], tokenizer: PreTrainedTokenizerBase | None
) -> InstructSegConfig:
    """`config` with the vocabulary size of the file, or of the tokenizer if that is larger."""
    config = released.with_rows_of(config, shapes)
    config.text_config.vocab_size = max(config.text_config.vocab_size, len(tokenizer or ()))
    config.lm_head_size = max(config.lm_head_size or 0, config.text_config.vocab_size)
    return config


def _tokenizer(source: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer beside the weights, if there is one."""
    folder = source if source.is_dir() else source.parent
    if not any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json", "vocab.json")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the tokenizer in {folder} cannot be read: {error}; download it again") from error


def _write(
    destination: Path,
    config: InstructSegConfig,
    sources: list[tuple[WeightFiles, ConversionPlan]],
    fresh: dict[str, str],
    tokenizer: PreTrainedTokenizerBase | None,
) -> ConversionReport:
    report = ConversionReport(
        used={key: list(mapping.targets) for _, plan in sources for key, mapping in plan.mappings.items()},
        ignored={key: reason for _, plan in sources for key, reason in plan.ignored.items()},
        fresh=fresh,
        files={name: digest for weights, _ in sources for name, digest in weights.hashes().items()},
    )
    config.converted_from = {"tables": [plan.table for _, plan in sources], "sha256": report.files}
    converted = itertools.chain.from_iterable(plan.apply(weights.tensors()) for weights, plan in sources)

    def add_files(folder: Path) -> None:
        (folder / REPORT).write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
        if tokenizer is not None:
            InstructSegProcessor.for_config(config, tokenizer).save_pretrained(folder)

    write_folder(destination, config, itertools.chain(converted, fresh_tensors(config, fresh)), add_files)
    return report
