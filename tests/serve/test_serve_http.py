"""The HTTP API through TestClient, with the tiny model in a thread: results, sessions, limits, errors in words."""

import base64
import re
import time

import httpx
import numpy as np
import pytest
import served
import tiny_clips

from instructseg.media.masks import rle_to_mask

TEXTS = ["the dog", "the red kite"]
TEXT_PHOTO = b'--b\r\nContent-Disposition: form-data; name="photo"\r\n\r\nx\r\n--b--\r\n'


@pytest.fixture(scope="module")
def segmenter():
    return served.segmenter()


@pytest.fixture(scope="module")
def client(segmenter):
    with served.client(segmenter, photo_bytes=200_000, clip_bytes=400_000, frames=30, pixels=1_000_000) as opened:
        yield opened


def ask(client, photo=None, **fields):
    files = {"photo": ("../../etc/passwd", served.png() if photo is None else photo)}
    return client.post("/v1/segment", files=files, data={"instructions": TEXTS, **fields})


def assert_refused(response, status, *words):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in error["message"]
    assert "Traceback" not in response.text


def test_answers_equal_the_segmenters(client, segmenter):
    results = ask(client).json()["results"]
    expected = segmenter.segment(served.png(), TEXTS)
    for result, prediction in zip(results, expected, strict=True):
        assert result["instruction"] == prediction.instruction and result["size"] == [40, 56]
        assert result["scores"] == pytest.approx(prediction.scores.tolist(), abs=1e-5)
        masks = [rle_to_mask(item["segmentation"]) for item in result["objects"]]
        assert np.array_equal(masks, prediction.masks)
        assert [item["box"] for item in result["objects"]] == prediction.boxes.tolist()
        assert "source" not in result


def test_multipart_and_base64_give_the_same(client):
    encoded = "data:image/png;base64," + base64.b64encode(served.png()).decode()
    body = {"photo": encoded, "instructions": TEXTS, "masks": "png", "max_masks": 2, "threshold": 0, "task": "res"}
    from_json = client.post("/v1/segment", json=body).json()["results"]
    from_form = ask(client, max_masks=2, threshold=0, task="res").json()["results"]
    for left, right in zip(from_json, from_form, strict=True):
        assert left["scores"] == right["scores"]
        for one, other in zip(left["objects"], right["objects"], strict=True):
            assert np.array_equal(served.mask_of(one), rle_to_mask(other["segmentation"]))
            assert one["segmentation"] is None


def test_one_text_need_not_be_a_list(client):
    body = {"photo": base64.b64encode(served.png()).decode(), "instructions": "the dog"}
    assert len(client.post("/v1/segment", json=body).json()["results"]) == 1


def test_a_session_answers_like_a_photo(client):
    opened = client.post("/v1/sessions", files={"photo": served.png(seed=3)}, data={"instructions": "the dog"})
    assert opened.status_code == 201 and opened.json()["size"] == [40, 56]
    name = opened.json()["session"]
    later = client.post(f"/v1/sessions/{name}/segment", json={"instructions": TEXTS}).json()["results"]
    alone = ask(client, served.png(seed=3)).json()["results"]
    for result, expected in zip(later, [opened.json()["results"][0], alone[1]], strict=True):
        assert result["scores"] == pytest.approx(expected["scores"], abs=1e-5)
        assert [item["area"] for item in result["objects"]] == [item["area"] for item in expected["objects"]]
    assert client.delete(f"/v1/sessions/{name}").status_code == 204
    assert_refused(client.post(f"/v1/sessions/{name}/segment", json={"instructions": TEXTS}), 404, "open it again")


def test_a_session_may_be_opened_without_texts(client):
    assert client.post("/v1/sessions", files={"photo": served.png()}).json()["results"] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"instructions": []}, ["instructions"]),
        ({"instructions": ["the dog", " "]}, ["non-empty"]),
        ({"instructions": ["dog"] * 17}, ["at most 16 instructions, got 17"]),
        ({"instructions": "x" * 501}, ["at most 500 characters, got 501"]),
        ({"threshold": "2"}, ["threshold"]),
        ({"max_masks": "0"}, ["max_masks"]),
        ({"task": "rvos"}, ["task"]),
        ({"color": "red"}, ["color"]),
    ],
)
def test_wrong_fields_are_named(client, fields, words):
    assert_refused(ask(client, **fields), 422, *words)


@pytest.mark.parametrize(
    ("photo", "status", "words"),
    [
        (b"", 422, "empty file"),
        (b"no photo", 422, "not a readable image"),
        (served.png()[:200], 422, "truncated"),
        (served.png(8, 200_000), 413, "megapixels"),
        (np.random.default_rng(0).bytes(300_000), 413, "at most 200000 bytes"),
    ],
)
def test_wrong_photos_are_named(client, photo, status, words):
    assert_refused(ask(client, photo), status, words)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[1]", "application/json", 422),
        (b'{"photo": "https://example.com/a.jpg", "instructions": "a"}', "application/json", 422),
        (b'{"photo": "\xff"}', "application/json", 400),
        (b"photo", "text/plain", 415),
        (b"photo", "multipart/form-data", 400),
        (b"--b\r\nnothing", "multipart/form-data; boundary=b", 422),
        (TEXT_PHOTO, "multipart/form-data; boundary=b", 422),
    ],
)  # fmt: skip
def test_malformed_bodies(client, content, kind, status):
    assert_refused(client.post("/v1/segment", content=content, headers={"content-type": kind}), status)


def test_two_files_are_refused(client):
    files = [("photo", served.png()), ("other", served.png())]
    assert_refused(client.post("/v1/segment", files=files, data={"instructions": "a"}), 400)


def test_a_body_without_a_length_is_counted(client):
    def parts():
        for _ in range(20):
            yield b"x" * 50_000

    response = client.post("/v1/segment", content=parts(), headers={"content-type": "application/json"})
    assert_refused(response, 413, "at most 200000 bytes")
    assert client.app.buffered == 0


@pytest.mark.parametrize("page", [False, True])
def test_unknown_paths_and_methods(segmenter, page):
    with served.client(segmenter, page=page) as own:
        assert_refused(own.get("/v1/nothing"), 404, "no such route")
        assert_refused(own.get("/nothing"), 404, "no such route")
        for route in ("/v1/segment", "/v1/sessions/a/chat"):
            refused = own.get(route)
            assert_refused(refused, 405, "does not take this method")
            assert refused.headers["allow"] == "POST"
        assert_refused(own.post("/health"), 405)


def test_request_ids(client):
    assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    forged = client.get("/health", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
    assert len(forged) == 16


def test_health_and_metrics(client):
    ask(client)
    assert client.get("/health").json()["status"] == "ok"
    lines = client.get("/metrics").text.splitlines()
    labels = 'method="POST",route="/v1/segment",status="200"'
    assert any(line.startswith(f"instructseg_requests_total{{{labels}}}") for line in lines)
    assert any(line.startswith("instructseg_batch_requests_count") for line in lines)


def test_openapi_describes_both_forms(client):
    body = client.get("/openapi.json").json()["paths"]["/v1/segment"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    example = body["application/json"]["example"]
    assert client.post("/v1/segment", json=example).status_code == 200


def test_the_token(segmenter):
    with served.client(segmenter, token="some-secret") as guarded:
        assert_refused(ask(guarded), 401, "Bearer")
        wrong = {"authorization": "Bearer other"}
        assert guarded.get("/metrics", headers=wrong).status_code == 401
        assert guarded.get("/health").status_code == 200
        right = {"authorization": "Bearer some-secret"}
        assert guarded.get("/metrics", headers=right).status_code == 200


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    path = tiny_clips.encode(tmp_path_factory.mktemp("clips") / "clip.mp4", tiny_clips.pictures(6))
    return path.read_bytes()


def start_clip(client, clip, **fields):
    files = {"clip": ("C:\\..\\..\\con.mp4", clip)}
    return client.post("/v1/videos", files=files, data={"instructions": TEXTS, **fields})


def wait_for_clip(client, name: str) -> dict:
    for _ in range(600):
        state = client.get(f"/v1/videos/{name}").json()
        if state["state"] not in ("waiting", "running"):
            return state
        time.sleep(0.02)
    raise AssertionError(f"the clip does not end: {state}")


@pytest.mark.parametrize("linking", ["causal", "offline"])
def test_a_clip_equals_the_segmenters(client, segmenter, clip, tmp_path, linking):
    started = start_clip(client, clip, linking=linking, files="true")
    assert started.status_code == 202, started.text
    state = wait_for_clip(client, started.json()["id"])
    assert (state["state"], state["frames_done"], state["frames_total"], state["error"]) == ("done", 6, 6, None)
    frames = client.get(f"/v1/videos/{state['id']}/frames").json()["frames"]
    (tmp_path / "clip.mp4").write_bytes(clip)
    expected = segmenter.segment_video(tmp_path / "clip.mp4", TEXTS, linking=linking).to_dict()["frames"]
    assert [frame["objects"] for frame in frames] == [frame["objects"] for frame in expected]
    assert state["files"] == ["masks.zip", "overlay.mp4", "result.json"]
    assert client.get(f"/v1/videos/{state['id']}/files/overlay.mp4").content[4:8] == b"ftyp"
    assert client.get(f"/v1/videos/{state['id']}/files/masks.zip").content[:2] == b"PK"
    assert_refused(client.get(f"/v1/videos/{state['id']}/files/clip"), 404)


def test_a_clip_is_cancelled_and_deleted(client, clip):
    name = start_clip(client, clip).json()["id"]
    client.post(f"/v1/videos/{name}/cancel")
    assert wait_for_clip(client, name)["state"] in ("cancelled", "done")
    folder = client.engine.clips.jobs[name].folder
    assert folder.is_dir()
    assert client.delete(f"/v1/videos/{name}").status_code == 204
    assert_refused(client.get(f"/v1/videos/{name}"), 404)
    assert not folder.exists()


def test_wrong_clips_fail_in_words(client, tmp_path):
    state = wait_for_clip(client, start_clip(client, b"no clip").json()["id"])
    assert state["state"] == "failed" and str(client.engine._folder) not in state["error"]
    assert_refused(start_clip(client, b""), 422, "empty file")
    assert_refused(start_clip(client, b"x" * 500_000), 413, "at most 400000 bytes")
    assert_refused(client.post("/v1/videos", json={}), 415)
    long = tiny_clips.encode(tmp_path / "long.mp4", tiny_clips.pictures(40)).read_bytes()
    state = wait_for_clip(client, start_clip(client, long).json()["id"])
    assert (state["state"], state["frames_done"]) == ("done", 30) and "limit" in state["error"]
    assert [job.name for job in client.engine._folder.iterdir() if job.name not in client.engine.clips.jobs] == []


def test_photos_are_answered_while_a_clip_runs(client, clip):
    name = start_clip(client, clip).json()["id"]
    assert ask(client).status_code == 200
    assert wait_for_clip(client, name)["state"] == "done"


def test_a_lost_worker_is_replaced(segmenter, monkeypatch):
    with served.client(segmenter) as own:
        answerer = own.workers[0].worker.photos
        monkeypatch.setattr(answerer, "answer", lambda requests: own.workers[0].kill())
        assert_refused(ask(own), 500, "ended unexpectedly (exit code -9)")
        assert ask(own).status_code == 200
        assert len(own.workers) == 2 and own.get("/health").json()["worker_restarts"] == 1


def test_a_hung_worker_is_replaced(segmenter, monkeypatch):
    with served.client(segmenter, request_seconds=0.5) as own:
        monkeypatch.setattr(own.workers[0].worker.photos, "answer", lambda requests: time.sleep(3))
        assert_refused(ask(own), 500, "longer than 0.5 s")


def test_the_client_of_the_documentation(client, clip, examples, tmp_path, monkeypatch, capsys):
    """The Python of docs/serve.md runs as printed, in one namespace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(examples)
    (tmp_path / "clip.mp4").write_bytes(clip)
    monkeypatch.setattr(httpx, "Client", lambda **_: client)
    snippets = re.findall(r"```python\n(.*?)```", (examples.parent / "docs" / "serve.md").read_text(), flags=re.DOTALL)
    names: dict = {}
    for snippet in snippets:
        exec(compile(snippet, "serve.md", "exec"), names)
    assert len(snippets) == 2 and "the camera" in capsys.readouterr().out
    assert names["mask"].dtype == bool and len(names["again"]) == 1
    assert len(names["frames"]) == 6 and names["overlay"][4:8] == b"ftyp"


def test_a_client_that_leaves_is_no_error(client, caplog):
    sent = []

    async def exchange():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
        scope = {"type": "http", "method": "POST", "path": "/v1/segment", "raw_path": b"/", "headers": headers,
                 "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("a", 80)}  # fmt: skip
        await client.app(scope, receive, send)

    client.portal.call(exchange)
    assert sent[0]["status"] == 499
    assert not [record for record in caplog.records if record.exc_info]


def test_draining_refuses_new_work(segmenter):
    with served.client(segmenter) as own:
        own.engine.draining = True
        response = ask(own)
        assert_refused(response, 503, "shutting down")
        assert int(response.headers["retry-after"]) > 0
        assert own.get("/health").status_code == 503
