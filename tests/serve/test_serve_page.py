"""The page in headless Chromium: photos, clips, cancelling, bad files, two visitors, a phone's width.

The screenshots are looked at by people: `INSTRUCTSEG_PICTURES=docs/pictures pytest tests/serve/test_serve_page.py`
writes them there, else they go to a temporary folder.
"""

import asyncio
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import served
import tiny_clips
import uvicorn

from instructseg.inference.segmenter import Segmenter
from instructseg.media.image import load_image
from instructseg.media.masks import rle_to_mask
from instructseg.serve.engine.engine import Engine
from instructseg.serve.options import Limits, ServerOptions
from instructseg.serve.server import Server, create_app

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MILLISECONDS = 1000 * int(os.environ.get("INSTRUCTSEG_TEST_PATIENCE", "60"))
"""How long the page may take for a step; more on a busy machine."""


@pytest.fixture(scope="module")
def address(browser):
    """The address of a server of this process around nano."""
    engine = Engine(ServerOptions(limits=Limits(shutdown_seconds=2)), served.launcher(Segmenter.load("nano")))
    config = uvicorn.Config(create_app(engine), port=0, ws="none", log_level="warning", timeout_graceful_shutdown=1)
    server = Server(config, engine)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    with playwright.sync_playwright() as opened:
        running = opened.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser, address):
    """Open the page as a new visitor; at the end there must be no error in the script and no other host asked."""
    problems, contexts = [], []

    def open_page(width: int = 1280, height: int = 860, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        known = (address, "blob:", "data:")
        page.on("request", lambda request: request.url.startswith(known) or problems.append(request.url))
        page.goto(address)
        page.wait_for_selector(".examples img")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    named = os.environ.get("INSTRUCTSEG_PICTURES")
    return Path(named) if named else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def clip(tmp_path_factory, examples) -> Path:
    """A camera that moves over the photo of a cup."""
    photo = load_image(examples / "coffee.jpg")
    frames = [np.ascontiguousarray(photo[40 : 40 + 240, left : left + 360]) for left in range(60, 220, 20)]
    return tiny_clips.encode(tmp_path_factory.mktemp("clips") / "cup.mp4", frames, rate=4)


def shoot(page, path: Path, full: bool = False) -> None:
    """Without the seconds in the status line, which are those of the machine that made the picture."""
    page.mouse.move(2, 2)
    page.evaluate("document.activeElement.blur(); document.querySelector('.status').textContent = ''")
    page.screenshot(path=path, full_page=full)


def wait_for_status(page, words: str) -> str:
    page.wait_for_function("words => document.querySelector('.status').textContent.includes(words)", arg=words)
    return page.inner_text(".status")


def colored(page) -> int:
    """How many pixels of the canvas are not gray: the masks, on a gray photo."""
    script = """() => { const canvas = document.querySelector('.view');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data; let count = 0;
        for (let at = 0; at < data.length; at += 4) count += Math.abs(data[at] - data[at + 2]) > 25;
        return count; }"""
    return page.evaluate(script)


def test_a_photo_from_upload_to_download(visit, examples, pictures):
    page = visit()
    page.set_input_files(".file", examples / "camera.jpg")
    page.fill(".texts", "the man\nthe zebra")
    assert colored(page) == 0
    page.keyboard.press("Control+Enter")
    wait_for_status(page, "Answered in")
    first = colored(page)
    assert first > 10_000
    rows = page.locator(".legend li")
    assert "the man" in rows.nth(0).inner_text() and "no target" in rows.nth(1).inner_text()
    shoot(page, pictures / "page.png")

    page.evaluate("value => { const slider = document.querySelector('.score'); slider.value = value;"
                  " slider.dispatchEvent(new Event('input')) }", 1)  # fmt: skip
    assert colored(page) == 0 and "no target" in rows.nth(0).inner_text()
    page.click(".nearest >> nth=0")
    page.wait_for_selector(".legend li.object")
    assert "nearest candidate" in rows.nth(0).inner_text() and colored(page) > 10_000
    page.click(".reset")
    assert "nearest" not in rows.nth(0).inner_text()

    rows.nth(0).hover()
    assert "on" in rows.nth(0).get_attribute("class")
    page.evaluate("document.querySelector('.status').textContent = ''")
    page.screenshot(path=pictures / "page_single.png")
    with page.expect_download() as download:
        page.click(".save-png")
    overlay = load_image(download.value.path())
    assert overlay.shape == (512, 512, 3) and download.value.suggested_filename == "camera.overlay.png"
    with page.expect_download() as download:
        page.click(".save-json")
    coco = json.loads(download.value.path().read_text())
    assert [entry["name"] for entry in coco["categories"]] == ["the man", "the zebra"]
    assert rle_to_mask(coco["annotations"][0]["segmentation"], (512, 512)).sum() == coco["annotations"][0]["area"]
    page.fill(".texts", "the tripod")
    page.click(".ask")
    assert "encoded already" in wait_for_status(page, "encoded already")
    assert colored(page) != first


def test_a_clip_with_progress_scrubbing_and_files(visit, clip, pictures):
    page = visit()
    page.set_input_files(".file", clip)
    page.fill(".texts", "the cup\nthe spoon")
    page.click(".ask")
    page.wait_for_function("document.querySelector('.left').textContent.match(/frame [2-9] of 8/)")
    assert page.locator("progress").evaluate("bar => bar.value") > 0
    wait_for_status(page, "Done: 8 frames")
    page.evaluate("value => { const slider = document.querySelector('.frame'); slider.value = value;"
                  " slider.dispatchEvent(new Event('input')) }", 5)  # fmt: skip
    page.wait_for_function("document.querySelector('.time').textContent === '1.25 s'")
    assert page.locator(".legend li").count() == 2
    shoot(page, pictures / "page_clip.png")
    for button, name in ((".save-mp4", "cup.overlay.mp4"), (".save-zip", "cup.masks.zip"), (".save-json", "cup.json")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == name and download.value.path().stat().st_size > 100


def test_a_clip_is_cancelled(visit, clip):
    page = visit()
    page.set_input_files(".file", clip)
    page.fill(".texts", "the cup")
    page.click(".ask")
    page.wait_for_function("document.querySelector('.left').textContent.includes('frame 1')")
    page.keyboard.press("Escape")
    assert "kept" in wait_for_status(page, "Cancelled")
    assert page.is_enabled(".ask")


def test_mistakes_are_answered_in_words(visit, examples, pictures):
    page = visit(color_scheme="dark")
    error = page.locator(".error")
    page.click(".ask")
    assert "Choose a photo" in error.inner_text()
    page.set_input_files(".file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"these are no pixels"})
    page.wait_for_function("document.querySelector('.error').textContent.includes('notes.jpg')")
    page.set_input_files(".file", examples / "raccoon.jpg")
    page.wait_for_selector(".view:not([hidden])")
    page.fill(".texts", " \n ")
    page.click(".ask")
    assert "Write what to segment" in error.inner_text()
    page.fill(".texts", "x" * 600)
    page.click(".ask")
    page.wait_for_function("document.querySelector('.error').textContent.includes('500 characters')")
    shoot(page, pictures / "page_error.png")
    page.set_input_files(".file", {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": b"this is no clip"})
    page.fill(".texts", "the cup")
    page.click(".ask")
    page.wait_for_function("document.querySelector('.error').textContent.includes('The clip')")


def test_two_visitors_at_once(visit):
    first, second = visit(), visit()
    first.click(".examples button >> nth=0")
    second.click(".examples button >> nth=2")
    for page in (first, second):
        wait_for_status(page, "Answered in")
    assert "the man" in first.inner_text(".legend") and "the cat" in second.inner_text(".legend")
    assert "the cat" not in first.inner_text(".legend")


def test_a_phone_shows_everything(visit, pictures):
    page = visit(390, 844, device_scale_factor=2, is_mobile=True, has_touch=True)
    page.tap(".examples button >> nth=4")
    wait_for_status(page, "Answered in")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [button.bounding_box() for button in page.locator("button:visible").all()]
    assert boxes and all(box["height"] >= 30 for box in boxes)
    shoot(page, pictures / "page_phone.png", full=True)


def test_a_pasted_photo_and_the_theme(visit, examples):
    page = visit(color_scheme="light")
    page.evaluate(
        """async (address) => { const photo = await (await fetch(address)).blob(), data = new DataTransfer();
        data.items.add(new File([photo], "pasted.jpg", { type: "image/jpeg" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data })); }""",
        "/examples/coffee.jpg",
    )
    page.wait_for_selector(".view:not([hidden])")
    assert "pasted.jpg" in page.inner_text(".chosen")
    color = "getComputedStyle(document.querySelector('#instructseg')).color"
    light = page.evaluate(color)
    page.click(".theme")
    assert page.evaluate(color) != light
    page.reload()
    page.wait_for_selector(".examples img")
    assert page.evaluate(color) != light


def test_a_small_picture_keeps_its_shape(visit):
    page = visit()
    for height, width in ((90, 120), (400, 40), (40, 3000)):
        page.set_input_files(".file", {"name": "a.png", "mimeType": "image/png", "buffer": served.png(height, width)})
        page.wait_for_function("wide => document.querySelector('.view').width === wide", arg=min(width, 1600))
        box = page.locator(".view").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.1)
        assert box["height"] <= 0.72 * 860 + 1 and box["width"] <= 1280


def test_the_keyboard_reaches_everything(visit):
    page = visit()
    page.locator(".file").focus()
    with page.expect_file_chooser():
        page.keyboard.press("Space")
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert {"texts", "SUMMARY", "primary ask"} <= set(order)


def test_gradio_takes_nothing(visit, address):
    """Its uploads and its queue, which could fetch addresses, are closed."""
    page = visit()
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert page.request.post(f"{address}{path}", data={}).status == 404
