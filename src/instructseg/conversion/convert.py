"""Conversions as a whole: sources in, a folder for `from_pretrained` out, and a report of every key."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from instructseg.conversion import mask2former, mipha, released, siglip
from instructseg.conversion.reading import Weights
from instructseg.conversion.rename import Fresh, Plan, Shape, check_complete, make_plan
from instructseg.conversion.writing import refuse_occupied, write_folder
from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
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
class Report:
    """What a conversion did with every key: source key -> new names, or the reason it was left out."""

    used: dict[str, list[str]]
    ignored: dict[str, str]
    fresh: dict[str, str]
    files: dict[str, str]

    def summary(self) -> list[str]:
        """Lines for people: counts, and each reason with its number of tensors."""
        lines = [f"{len(self.used)} tensors used, {len(self.ignored)} ignored, {len(self.fresh)} fresh"]
        for title, table in (("ignored", self.ignored), ("fresh", self.fresh)):
            for reason in dict.fromkeys(table.values()):
                keys = [key for key, value in table.items() if value == reason]
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                lines.append(f"{title}: {keys[0]}{more} ({reason})")
        return lines


def convert_released(source: Path, destination: Path, config: InstructSegConfig | None = None) -> Report:
    """The authors' checkpoint as one of ours that behaves like theirs.

    `config` gives the sizes, those of the paper by default; rows of the vocabulary are read from the file, and the
    released behaviour is switched on. A tokenizer in `source` is kept, with the processor that fits.
    """
    refuse_occupied(destination)
    weights = Weights(source)
    shapes = weights.shapes()
    config = released.with_released_behaviour(released.with_rows_of(config or paper(), shapes))
    target = shapes_of(config)
    plan = make_plan("released", released.TABLE, shapes, target)
    fresh = check_complete([plan], target, released.FRESH)
    tokenizer = _tokenizer(source)
    if tokenizer is not None and SEG_TOKEN not in tokenizer.get_vocab():
        raise CheckpointError(f"the tokenizer in {source} has no {SEG_TOKEN}; it is not the released one")
    return _write(destination, config, [(weights, plan)], fresh, tokenizer)


def convert_base(
    mipha_source: Path,
    mask2former_source: Path,
    destination: Path,
    config: InstructSegConfig | None = None,
    siglip_source: Path | None = None,
) -> Report:
    """What a training from scratch starts from: Mipha and Mask2Former inside, the paper's own parts fresh.

    `siglip_source` replaces the CLIP-type encoder that Mipha was trained with. The tokenizer beside Mipha's weights
    gets the [SEG] token, and the word embeddings a row for it when they have none to spare.
    """
    refuse_occupied(destination)
    sources = {
        "mipha": (Weights(mipha_source), mipha.TABLE_WITHOUT_ENCODER if siglip_source else mipha.TABLE),
        "mask2former": (Weights(mask2former_source), mask2former.TABLE),
    }
    if siglip_source:
        sources["siglip"] = (Weights(siglip_source), siglip.TABLE)
    shapes = {name: weights.shapes() for name, (weights, _) in sources.items()}
    tokenizer = _tokenizer(mipha_source)
    if tokenizer is not None:
        tokenizer.add_tokens(SEG_TOKEN, special_tokens=True)
    config = _with_room_for(config or paper(), shapes["mipha"], tokenizer)
    target = shapes_of(config)
    plans = [(weights, make_plan(name, rules, shapes[name], target)) for name, (weights, rules) in sources.items()]
    fresh = check_complete([plan for _, plan in plans], target, BASE_FRESH)
    return _write(destination, config, plans, fresh, tokenizer)


def shapes_of(config: InstructSegConfig) -> dict[str, Shape]:
    """The state dict of a model as shapes; no memory is spent on its weights."""
    with torch.device("meta"):
        model = InstructSegModel(config)
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


def fresh_tensors(config: InstructSegConfig, names: Mapping[str, str], seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Our own initialisation of some tensors, without building the whole model: see `_skeleton`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = InstructSegModel(_skeleton(config, names)).state_dict()
    yield from ((name, state[name]) for name in names)


def _skeleton(config: InstructSegConfig, names: Iterable[str]) -> InstructSegConfig:
    """`config` with one layer and a few words in the parts that are never fresh, and where none of `names` is."""
    small = copy.deepcopy(config)
    text = small.text_config
    text.num_hidden_layers, text.vocab_size, small.lm_head_size = 1, 8, 8
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    small.vision_config.num_hidden_layers = 1
    small.backbone_config.depths = [1] * len(small.backbone_config.depths)
    small.decoder_config.pixel_layers = small.decoder_config.decoder_layers = 1
    for part, sizes in (("perceiver.", small.perceiver_config), ("text_fusion.", small.text_fusion_config)):
        if sizes is not None and not any(name.startswith(part) for name in names):
            sizes.depth = 1
    return small


def _with_room_for(
    config: InstructSegConfig, shapes: Mapping[str, Shape], tokenizer: PreTrainedTokenizerBase | None
) -> InstructSegConfig:
    """`config` with the file's rows, and more when the tokenizer has more words."""
    config = released.with_rows_of(config, shapes)
    config.text_config.vocab_size = max(config.text_config.vocab_size, len(tokenizer or ()))
    config.lm_head_size = max(config.lm_head_size, config.text_config.vocab_size)
    return config


def _tokenizer(source: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer beside the weights, if there is one."""
    folder = source if source.is_dir() else source.parent
    if not any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json", "vocab.json")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the tokenizer in {folder} cannot be read: {error}") from error


def _write(
    destination: Path, config: InstructSegConfig, sources: list[tuple[Weights, Plan]], fresh: dict[str, str],
    tokenizer: PreTrainedTokenizerBase | None,
) -> Report:  # fmt: skip
    report = Report(
        used={key: list(move.targets) for _, plan in sources for key, move in plan.moves.items()},
        ignored={key: reason for _, plan in sources for key, reason in plan.ignored.items()},
        fresh=fresh,
        files={name: digest for weights, _ in sources for name, digest in weights.hashes().items()},
    )
    config.converted_from = {"tables": [plan.table for _, plan in sources], "sha256": report.files}
    converted = itertools.chain.from_iterable(plan.apply(weights.tensors()) for weights, plan in sources)

    def add_files(folder: Path) -> None:
        (folder / REPORT).write_text(json.dumps(asdict(report), indent=1))
        if tokenizer is not None:
            InstructSegProcessor.for_config(config, tokenizer).save_pretrained(folder)

    write_folder(destination, config, itertools.chain(converted, fresh_tensors(config, fresh)), add_files)
    return report
