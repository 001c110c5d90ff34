"""The model card that is saved beside weights: README.md with the YAML header that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from instructseg._version import __version__
from instructseg.model.configuration import InstructSegConfig

CARD = "README.md"

TEXT = """---
{header}
---

# InstructSeg

A model for text-guided segmentation of photos and clips, saved by the package `instructseg` {version}.
{origin}

```python
from instructseg import Segmenter

result = Segmenter.load("THIS FOLDER OR HUB ID").segment("photo.jpg", "the dog on the left")
result.masks
```

{writing}

## To be written by whoever publishes it

Training data and their licences, figures on held-out data, limitations.
"""


def write_card(config: InstructSegConfig, directory: Path) -> None:
    """Write the model card of a saved model, unless the folder has one."""
    if not (directory / CARD).exists():
        model_card(config).save(directory / CARD)


def model_card(config: InstructSegConfig) -> ModelCard:
    """License, task, library and tags for the hub, and how to load the model.

    Converted weights have the licence of their source, which the header calls "other".
    """
    converted = bool(config.converted_from)
    source = "its source weights, see conversion.json" if converted else None
    header = ModelCardData(
        license="other" if converted else "apache-2.0", license_name=source and "source-weights",
        library_name="instructseg",
        pipeline_tag="image-segmentation", tags=["referring-segmentation", "reasoning-segmentation", "instructseg"],
    )  # fmt: skip
    text = TEXT.format(
        header=header.to_yaml(), version=__version__,
        origin=f"It was converted; its licence is that of {source}." if source else "",
        writing="It was trained to write text: `Segmenter.reason` and `Segmenter.chat` answer in words, too."
        if config.was_trained_to_write
        else "It was not trained to write text: what `Segmenter.reason` and `Segmenter.chat` write means nothing.",
    )  # fmt: skip
    return ModelCard(text)
