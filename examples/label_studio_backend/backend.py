"""A machine-learning backend for Label Studio: labels are sentences, predictions are brush masks.

    pip install 'instructseg[serve]' label-studio-sdk
    python examples/label_studio_backend/backend.py photos/ --port 9090

It answers the three requests that Label Studio sends to a backend: GET /health, POST /setup and POST /predict. The
photos are those of a local storage of Label Studio, /data/local-files/?d=PATH, which this program reads from the same
folder.
"""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import uvicorn
from fastapi import FastAPI
from label_studio_sdk.converter.brush import mask2rle
from label_studio_sdk.label_interface import LabelInterface
from pydantic import BaseModel

from instructseg import ImageSession, InputError, InstructSegError, Prediction, Segmenter
from instructseg.agents.photo_folder import PhotoFolder

logger = logging.getLogger("label_studio_backend")

LOCAL_FILES = "/data/local-files/"


class Task(BaseModel):
    """A photo's address is in one of the fields of `data`."""

    id: int | str | None = None
    data: dict[str, Any] = {}


class PredictRequest(BaseModel):
    """What Label Studio asks: tasks, and the labelling configuration of their project (XML)."""

    tasks: list[Task]
    label_config: str


class Brushes:
    """The first BrushLabels of a labelling configuration that belong to an Image: their names and their sentences."""

    def __init__(self, label_config: str):
        """Raises InputError for a configuration without them."""
        try:
            interface = LabelInterface(label_config)
            self.name, self.image, self.field = interface.get_first_tag_occurence("BrushLabels", "Image")
            self.sentences = list(interface.get_control(self.name).labels)
        except Exception as error:  # the SDK raises several kinds for XML that it cannot use
            raise InputError(f"expected a configuration with Image and BrushLabels ({error}); see README.md") from error

    def result(self, prediction: Prediction, mask: np.ndarray, score: float) -> dict[str, Any]:
        """One mask as a region of Label Studio."""
        height, width = prediction.size
        return {
            "type": "brushlabels", "from_name": self.name, "to_name": self.image, "score": score,
            "original_width": width, "original_height": height, "image_rotation": 0,
            "value": {
                "format": "rle", "rle": mask2rle(mask.astype(np.uint8) * 255), "brushlabels": [prediction.instruction],
            },
        }  # fmt: skip


class Backend:
    """Answers Label Studio's requests with one segmenter and the photos of one folder."""

    def __init__(self, open_photo: Callable[[Path], ImageSession], folder: PhotoFolder, version: str):
        self.open_photo, self.folder, self.version = open_photo, folder, version
        self._lock = threading.Lock()  # requests come in several threads, the model takes one at a time

    def predict(self, request: PredictRequest) -> dict[str, Any]:
        """One prediction per task, in their order. A task that fails gets an empty one, and a line in the log."""
        brushes = Brushes(request.label_config)
        return {"results": [self._predict_task(task, brushes) for task in request.tasks]}

    def _predict_task(self, task: Task, brushes: Brushes) -> dict[str, Any]:
        found: list[tuple[Prediction, np.ndarray, float]] = []
        try:
            photo = self.folder.find(local_path(task.data.get(brushes.field)))
            with self._lock:
                predictions = self.open_photo(photo).segment(brushes.sentences)
            found = [
                (prediction, mask, float(score))
                for prediction in predictions
                for mask, score in zip(prediction.masks, prediction.scores, strict=True)
                if mask.any()
            ]
        except InstructSegError as error:
            logger.warning("task %s: %s", task.id, error)
        regions = [brushes.result(*entry) for entry in found]
        score = sum(entry[2] for entry in found) / max(1, len(found))
        return {"result": regions, "score": score, "model_version": self.version}


def local_path(address: object) -> str:
    """PATH of "/data/local-files/?d=PATH". Raises InputError for every other address; nothing is fetched."""
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        named = parse_qs(parts.query).get("d", []) if parts.path.endswith(LOCAL_FILES) else []
    except ValueError:  # such as "http://["
        named = []
    if not named:
        raise InputError(f"expected a photo of a local storage, {LOCAL_FILES}?d=PATH, got {address!r:.200}")
    return named[0]


def create_app(backend: Backend) -> FastAPI:
    """The three routes."""
    app = FastAPI(title="InstructSeg for Label Studio")

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "InstructSeg"}

    @app.post("/setup")
    def setup() -> dict[str, str]:
        return {"model_version": backend.version}

    @app.post("/predict")
    def predict(request: PredictRequest) -> dict[str, Any]:
        try:
            return backend.predict(request)
        except InputError as error:
            logger.warning("%s", error)
            return {"results": [{"result": [], "score": 0.0, "model_version": backend.version} for _ in request.tasks]}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the document root of Label Studio's local files")
    parser.add_argument("--model", default="nano", help="shipped model, folder with weights, or hub id (default: nano)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=9090)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    try:
        segmenter = Segmenter.load(options.model)
        backend = Backend(segmenter.open, PhotoFolder(options.folder), f"instructseg {options.model}")
    except InstructSegError as error:
        parser.error(str(error))
    uvicorn.run(create_app(backend), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
