"""The page: one Gradio component whose script is a client of the server's own API.

Gradio serves the page and its theme. Photos and clips go to /v1, never to Gradio: its own uploads, which would also
fetch addresses, are refused by `ReadOnly`.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from gradio.themes import Default
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from instructseg.serve.engine.engine import Engine
from instructseg.serve.errors import NotFound
from instructseg.serve.http import failures
from instructseg.serve.http.gate import error_response
from instructseg.serve.page.examples import EXAMPLES, example_path

STATIC = Path(__file__).parent / "static"
FONTS = ("system-ui", "sans-serif")
HEAD = '<link rel="stylesheet" href="/page/page.css"><meta name="color-scheme" content="light dark">'
START = "import('/page/app.js').then((page) => page.start(element.querySelector('#instructseg')));"


def mount_page(app: FastAPI, engine: Engine) -> None:
    """Serve the page at `/`, its files at /page and the example photos at /examples."""
    app.mount("/page", StaticFiles(directory=STATIC), name="page")

    @app.get("/examples/{name}", include_in_schema=False)
    async def example(name: str) -> FileResponse:
        if name not in EXAMPLES:
            raise NotFound("no such example photo")
        return FileResponse(example_path(name))

    app.add_middleware(ReadOnly)
    gr.mount_gradio_app(
        app, build_page(engine), "/", theme=Default(font=FONTS, font_mono=("ui-monospace", "monospace")),
        head=HEAD, footer_links=[], ssr_mode=False, enable_monitoring=False, run_history=False,
    )  # fmt: skip
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount) and isinstance(mounted.app, FastAPI)
    app.routes[-1] = LastMount(mounted.path, mounted.app)
    failures.install(mounted.app)  # paths that nobody knows reach Gradio


def build_page(engine: Engine) -> gr.Blocks:
    """The page as Gradio describes it."""
    limits = engine.limits
    facts = {
        "examples": EXAMPLES, "texts": limits.texts, "textLength": limits.text_length, "photoBytes": limits.photo_bytes,
        "clipBytes": limits.clip_bytes, "needsToken": engine.options.token is not None,
    }  # fmt: skip
    content = (STATIC / "page.html").read_text(encoding="utf-8")
    content = content.replace("FACTS", json.dumps(facts).replace("&", "&amp;").replace("'", "&#39;"))
    with gr.Blocks(title="InstructSeg", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(html_template=content, js_on_load=START, apply_default_css=False, elem_id="page")
    return page


class LastMount(Mount):
    """Takes the paths that no other route knows. A plain mount at `/` also takes wrong methods of the API's routes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return Match.NONE if match is Match.NONE else Match.PARTIAL, child_scope


class ReadOnly:
    """Refuses everything that would change Gradio's state: the page needs none of it."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_gradio = scope["type"] == "http" and scope["path"].startswith(("/gradio_api", "/upload", "/login"))
        if is_gradio and (scope["method"] not in ("GET", "HEAD") or "/heartbeat/" in scope["path"]):
            request_id = scope.get("state", {}).get("request_id", "")
            message = "the page has no such function; use POST /v1/segment (see /docs)"
            await error_response(404, None, message, request_id)(scope, receive, send)
            return
        await self.app(scope, receive, send)
