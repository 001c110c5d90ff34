"""The example backend for Label Studio: requests as Label Studio sends them, masks read by Label Studio's SDK."""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import served
from fastapi.testclient import TestClient
from PIL import Image

pytest.importorskip("label_studio_sdk", reason="needs label-studio-sdk")
from label_studio_sdk.converter.brush import decode_rle

from instructseg.agents.photo_folder import PhotoFolder

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "label_studio_backend" / "backend.py"
CONFIG = """<View><Image name="picture" value="$photo"/><BrushLabels name="brush" toName="picture">
<Label value="the dog"/><Label value="the red kite"/></BrushLabels></View>"""


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("label_studio_backend", EXAMPLE)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # FastAPI looks its annotations up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def segmenter():
    return served.segmenter()


@pytest.fixture
def client(example, segmenter, tmp_path):
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    (photos / "inner" / "a photo.png").write_bytes(served.png())
    (tmp_path / "secret.png").write_bytes(served.png())
    return TestClient(example.create_app(example.Backend(segmenter.open, PhotoFolder(photos), "instructseg tiny")))


def predict(client, *addresses, config: str = CONFIG):
    """A request as `MLApi.make_predictions` of label-studio 1.23 sends it."""
    tasks = [{"id": number, "data": {"photo": address}} for number, address in enumerate(addresses)]
    params = {"login": None, "password": None, "context": None}
    body = {"tasks": tasks, "project": "1.1700000000", "label_config": config, "params": params}
    response = client.post("/predict", json=body)
    assert response.status_code == 200
    return response.json()["results"]


def test_masks_are_those_of_the_library(client, segmenter):
    (answer,) = predict(client, "/data/local-files/?d=inner/a%20photo.png")
    expected = segmenter.segment(Image.open(io.BytesIO(served.png())), ["the dog", "the red kite"])
    wanted = [(entry.instruction, mask) for entry in expected for mask in entry.masks if mask.any()]
    assert len(answer["result"]) == len(wanted) > 0 and answer["model_version"] == "instructseg tiny"
    for region, (sentence, mask) in zip(answer["result"], wanted, strict=True):
        assert (region["from_name"], region["to_name"], region["type"]) == ("brush", "picture", "brushlabels")
        size = region["original_height"], region["original_width"]
        decoded = decode_rle(region["value"]["rle"]).reshape(*size, 4)[:, :, 3] > 0
        assert region["value"]["brushlabels"] == [sentence] and np.array_equal(decoded, mask)
        assert 0 <= region["score"] <= 1


def test_one_bad_task_does_not_stop_the_others(client, caplog):
    good = "/data/local-files/?d=inner/a photo.png"
    bad = ["/data/local-files/?d=../secret.png", "https://example.org/a.jpg", "/data/upload/1/a.png", None,
           "/data/local-files/?d=missing.png", "/data/local-files/", "http://["]  # fmt: skip
    answers = predict(client, *bad, good)
    assert [bool(answer["result"]) for answer in answers] == [False] * len(bad) + [True]
    assert len([record for record in caplog.records if record.name == "label_studio_backend"]) == len(bad)


def test_a_configuration_without_brushes(client, caplog):
    text = '<View><Text name="text" value="$photo"/></View>'
    for config in (text, "no XML"):
        assert predict(client, "/data/local-files/?d=inner/a photo.png", config=config)[0]["result"] == []
    assert "expected a configuration with Image and BrushLabels" in caplog.text


def test_what_label_studio_asks_when_it_connects(client):
    assert client.get("/health").json()["status"] == "UP"
    body = {"project": "1.1700000000", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "x",
            "extra_params": None}  # fmt: skip
    assert client.post("/setup", json=body).json() == {"model_version": "instructseg tiny"}
