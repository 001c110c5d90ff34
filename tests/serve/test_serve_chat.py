"""POST /v1/chat and /v1/sessions/{session}/chat with a tiny model that counts as trained to write."""

import base64

import pytest
import served
import tiny_model

from instructseg import Segmenter
from instructseg.serve.messages import ChatAnswer, ChatRequest, Failure, PhotoRequest
from instructseg.serve.worker.chat import ChatAnswerer
from instructseg.serve.worker.photos import PhotoAnswerer
from instructseg.serve.worker.sessions import SessionStore

FIRST, SECOND = "what is the dog on", "which cup is red"
PHOTO = served.png(seed=1)


@pytest.fixture(scope="module")
def segmenter():
    """Its answers are the ids of its tokens, since the small tokenizer has no words for most of them."""
    model, processor = tiny_model.build(score_threshold=0.0, writes_text=True)
    processor.tokenizer.decode = lambda words, **_: " ".join(map(str, words))
    return Segmenter(model, processor, "tiny")


@pytest.fixture(scope="module")
def client(segmenter):
    with served.client(segmenter, photo_bytes=200_000) as opened:
        yield opened


def open_session(client, **fields) -> str:
    return client.post("/v1/sessions", files={"photo": PHOTO}, data=fields).json()["session"]


def refusal(response) -> tuple[int, str]:
    assert "Traceback" not in response.text
    return response.status_code, response.json()["error"]["message"]


def test_a_question_about_a_photo(client, segmenter):
    expected = segmenter.chat(PHOTO, FIRST, 8)
    form = client.post("/v1/chat", files={"photo": PHOTO}, data={"question": FIRST, "max_tokens": 8})
    encoded = {"photo": base64.b64encode(PHOTO).decode(), "question": FIRST, "max_tokens": 8}
    for response in (form, client.post("/v1/chat", json=encoded)):
        assert response.json() == {"question": FIRST, "answer": expected, "turns": 1, "model": "tiny"}
    assert len(expected.split()) == 8


def test_a_session_remembers_its_conversation(client, segmenter):
    own = segmenter.open(PHOTO)
    expected = [own.chat(FIRST, 8), own.chat(SECOND, 8), segmenter.open(PHOTO).chat(SECOND, 8)]
    assert expected[1] != expected[2]  # the first turn matters
    path = f"/v1/sessions/{open_session(client)}/chat"
    first = client.post(path, json={"question": FIRST, "max_tokens": 8}).json()
    second = client.post(path, json={"question": SECOND, "max_tokens": 8}).json()
    fresh = client.post(path, json={"question": SECOND, "max_tokens": 8, "new_conversation": True}).json()
    assert [turn["answer"] for turn in (first, second, fresh)] == expected
    assert [turn["turns"] for turn in (first, second, fresh)] == [1, 2, 1]


def test_masks_and_words_about_one_session(client, segmenter):
    name = open_session(client, instructions="the dog")
    expected = segmenter.chat(PHOTO, FIRST, 8)
    answer = client.post(f"/v1/sessions/{name}/chat", json={"question": FIRST, "max_tokens": 8}).json()["answer"]
    results = client.post(f"/v1/sessions/{name}/segment", json={"instructions": ["the dog"]}).json()["results"]
    assert answer == expected and results[0]["found"]


def test_mistakes_in_words(client):
    name = open_session(client)
    cases = [
        ({"question": " "}, 422, "empty"),
        ({"question": ""}, 422, "question"),
        ({"question": "x" * 501}, 422, "expected a question of at most 500 characters, got 501; shorten it"),
        ({"question": FIRST, "max_tokens": 0}, 422, "max_tokens"),
        ({"question": FIRST, "instructions": ["dog"]}, 422, "instructions"),
        ({}, 422, "question"),
    ]
    for body, status, words in cases:
        found, message = refusal(client.post(f"/v1/sessions/{name}/chat", json=body))
        assert (found, words in message) == (status, True), message
    assert refusal(client.post("/v1/sessions/unknown/chat", json={"question": FIRST}))[0] == 404
    assert refusal(client.post("/v1/chat", files={"photo": b"no photo"}, data={"question": FIRST}))[0] == 422
    assert refusal(client.post("/v1/chat", json={"question": FIRST})) == (422, "photo: Field required")


def test_a_model_that_cannot_write_says_so():
    """nano is one; whatever the body holds, the model is the reason."""
    with served.client(served.segmenter()) as other:
        assert other.get("/health").json()["writes_text"] is False
        for response in (
            other.post("/v1/chat", files={"photo": PHOTO}, data={"question": FIRST}),
            other.post("/v1/sessions/unknown/chat", json={}),
        ):
            status, message = refusal(response)
            assert status == 409 and "was not" in message and "tiny" in message and "/v1/segment" in message
            assert response.json()["error"]["code"] == "model_cannot_chat"


def test_openapi_and_health(client):
    assert client.get("/health").json()["writes_text"] is True
    described = client.get("/openapi.json").json()["paths"]["/v1/chat"]["post"]
    content = described["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"} and "409" in described["responses"]
    example = content["application/json"]["example"]
    assert "instructions" not in example
    assert client.post("/v1/chat", json={**example, "max_tokens": 4}).status_code == 200


def test_the_token_guards_it(segmenter):
    with served.client(segmenter, token="some-secret") as guarded:
        assert guarded.post("/v1/chat", json={}).status_code == 401


# The worker's side, without HTTP.


@pytest.fixture
def store():
    return SessionStore(10**9, 600)


def keep(segmenter, store, name: str = "kept"):
    PhotoAnswerer(segmenter, store, 10**6).answer([PhotoRequest(PHOTO, name, ())])


def test_an_answer_that_takes_too_long_is_as_if_not_asked(segmenter, store):
    keep(segmenter, store)
    seconds = iter(range(1000))
    slow = ChatAnswerer(segmenter, store, 10**6, max_seconds=2.5, clock=lambda: float(next(seconds)))
    late = slow.answer(ChatRequest(None, "kept", FIRST, 8))
    assert isinstance(late, Failure) and late.status == 422 and "2.5 s" in late.message
    usual = ChatAnswerer(segmenter, store, 10**6, max_seconds=60)
    assert usual.answer(ChatRequest(None, "kept", FIRST, 8)) == ChatAnswer(segmenter.chat(PHOTO, FIRST, 8), 1)


def test_the_bytes_of_a_conversation_count(segmenter, store):
    keep(segmenter, store)
    answerer = ChatAnswerer(segmenter, store, 10**6, 60)
    sizes = [store.use.size]
    for question in (FIRST, SECOND):
        answerer.answer(ChatRequest(None, "kept", question, 8))
        sizes.append(store.use.size)
    assert sizes[0] < sizes[1] < sizes[2]
    small = SessionStore(sizes[1] + 10, 600)
    keep(segmenter, small, "other")
    keep(segmenter, small)
    ChatAnswerer(segmenter, small, 10**6, 60).answer(ChatRequest(None, "kept", FIRST, 8))
    assert small.get("other") is None and small.get("kept") is not None


def test_an_unexpected_error_keeps_the_session(segmenter, store, monkeypatch):
    keep(segmenter, store)
    monkeypatch.setattr(type(store.get("kept")), "stream_chat", lambda *_: 1 / 0)
    failure = ChatAnswerer(segmenter, store, 10**6, 60).answer(ChatRequest(None, "kept", FIRST))
    assert failure.status == 500 and "ZeroDivisionError" in failure.message
    assert store.get("kept") is not None
