"""InstructSeg: text-guided segmentation of photos and video clips.

    from instructseg import Segmenter

    result = Segmenter.load("nano").segment("photo.jpg", "the dog on the left")
    result.masks, result.scores

The names below are imported on first use (PEP 562): `import instructseg` alone loads neither torch nor NumPy. It also
makes transformers' AutoModel, AutoConfig, AutoProcessor and AutoImageProcessor find this package's classes.

The logger `instructseg` tells what the library does: INFO for models and clips, DEBUG for photos and texts.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from instructseg._version import __version__
from instructseg.auto_classes import register_when_needed

if TYPE_CHECKING:
    from instructseg.errors import CheckpointError, DataError, InputError, InstructSegError, RecipeError
    from instructseg.inference.explanation import ExplainedPrediction
    from instructseg.inference.image_session import ImageSession
    from instructseg.inference.pipeline import ReferringSegmentationPipeline
    from instructseg.inference.prediction import Prediction, SavedPrediction
    from instructseg.inference.segmenter import Segmenter
    from instructseg.inference.video.frames import (
        FramePrediction,
        StoredFramePrediction,
        StreamedFramePrediction,
    )
    from instructseg.inference.video.options import VideoOptions
    from instructseg.inference.video.results import VideoPrediction
    from instructseg.inference.video.saving import SavedVideoPrediction
    from instructseg.inference.video.session import VideoSession
    from instructseg.model.configuration import InstructSegConfig
    from instructseg.model.modeling import InstructSegModel
    from instructseg.model.processing import InstructSegProcessor
    from instructseg.types import Expression, Sample, Task

__all__ = [
    "Segmenter",
    "ImageSession",
    "VideoSession",
    "VideoOptions",
    "Prediction",
    "SavedPrediction",
    "ExplainedPrediction",
    "VideoPrediction",
    "SavedVideoPrediction",
    "FramePrediction",
    "StreamedFramePrediction",
    "StoredFramePrediction",
    "ReferringSegmentationPipeline",
    "Task",
    "Sample",
    "Expression",
    "InstructSegModel",
    "InstructSegConfig",
    "InstructSegProcessor",
    "InstructSegError",
    "InputError",
    "DataError",
    "CheckpointError",
    "RecipeError",
    "__version__",
]

_HOMES = {
    "Segmenter": "instructseg.inference.segmenter",
    "ImageSession": "instructseg.inference.image_session",
    "VideoSession": "instructseg.inference.video.session",
    "VideoOptions": "instructseg.inference.video.options",
    "Prediction": "instructseg.inference.prediction",
    "SavedPrediction": "instructseg.inference.prediction",
    "ExplainedPrediction": "instructseg.inference.explanation",
    "VideoPrediction": "instructseg.inference.video.results",
    "SavedVideoPrediction": "instructseg.inference.video.saving",
    "FramePrediction": "instructseg.inference.video.frames",
    "StreamedFramePrediction": "instructseg.inference.video.frames",
    "StoredFramePrediction": "instructseg.inference.video.frames",
    "ReferringSegmentationPipeline": "instructseg.inference.pipeline",
    "Task": "instructseg.types",
    "Sample": "instructseg.types",
    "Expression": "instructseg.types",
    "InstructSegModel": "instructseg.model.modeling",
    "InstructSegConfig": "instructseg.model.configuration",
    "InstructSegProcessor": "instructseg.model.processing",
    "InstructSegError": "instructseg.errors",
    "InputError": "instructseg.errors",
    "DataError": "instructseg.errors",
    "CheckpointError": "instructseg.errors",
    "RecipeError": "instructseg.errors",
}
"""The module that defines each name."""


register_when_needed()
logging.getLogger(__name__).addHandler(logging.NullHandler())  # the program that uses the library decides what is shown


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # later accesses find it there
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
