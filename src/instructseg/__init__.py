"""InstructSeg: a photo or a clip and a sentence in, a mask out.

The names below are looked up on first use (PEP 562), so `import instructseg` alone stays light: it loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instructseg.errors import CheckpointError, DataError, InputError, InstructSegError, RecipeError
    from instructseg.inference.prediction import Prediction
    from instructseg.inference.segmenter import Segmenter
    from instructseg.inference.video.results import VideoFrameResult, VideoPrediction
    from instructseg.model.configuration import InstructSegConfig
    from instructseg.model.modeling import InstructSegModel
    from instructseg.model.processing import InstructSegProcessor
    from instructseg.types import Sample, Task

__version__ = "0.1.0.dev0"

__all__ = [
    "Segmenter",
    "Prediction",
    "VideoPrediction",
    "VideoFrameResult",
    "Task",
    "Sample",
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
    "Prediction": "instructseg.inference.prediction",
    "VideoPrediction": "instructseg.inference.video.results",
    "VideoFrameResult": "instructseg.inference.video.results",
    "Task": "instructseg.types",
    "Sample": "instructseg.types",
    "InstructSegModel": "instructseg.model.modeling",
    "InstructSegConfig": "instructseg.model.configuration",
    "InstructSegProcessor": "instructseg.model.processing",
    "InstructSegError": "instructseg.errors",
    "InputError": "instructseg.errors",
    "DataError": "instructseg.errors",
    "CheckpointError": "instructseg.errors",
    "RecipeError": "instructseg.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
