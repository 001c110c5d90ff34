"""The added tokens of a tokenizer.json, without parsing its vocabulary of megabytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

START = '"added_tokens":'
LEGACY_FILES = ("special_tokens_map.json", "added_tokens.json")


def read_added_tokens(folder: Path) -> dict[int, dict[str, Any]] | None:
    """Id and description of each added token, as `added_tokens_decoder` of transformers' tokenizers.

    Returns None where transformers has to look: without a local tokenizer.json in the usual order of fields, with a
    decoder in tokenizer_config.json, or with the additional files of older versions.
    """
    try:
        config = json.loads((folder / "tokenizer_config.json").read_bytes())
        if "added_tokens_decoder" in config or any((folder / name).exists() for name in LEGACY_FILES):
            return None
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        before, start, after = text.partition(START)
        if not start or '"model"' in before:
            return None
        tokens, _ = json.JSONDecoder().raw_decode(after.lstrip())
        return {token["id"]: {key: value for key, value in token.items() if key != "id"} for token in tokens}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # transformers' own error says what is wrong
        return None
