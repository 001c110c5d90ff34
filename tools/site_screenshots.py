"""Photograph the built site with Chromium: docs/pictures/site_home.jpg (light) and site_guide.jpg (dark).

    make docs && python -m tools.site_screenshots [--site site] [--all FOLDER]

Needs the extra `browser` and Chromium. --all writes every page at two widths into FOLDER, for looking at them.
"""

from __future__ import annotations

import argparse
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.harness import PICTURES, ROOT

SHOWN = {"site_home.jpg": ("", "light"), "site_guide.jpg": ("instructions/", "dark")}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


def photograph(browser: Browser, address: str, path: Path, scheme: str, width: int = 1280, whole: bool = False) -> None:
    context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    page.set_default_timeout(180_000)  # a busy machine
    page.route(lambda url: not url.startswith("http://127.0.0.1"), lambda route: route.abort())
    page.goto(address, wait_until="load")
    page.wait_for_timeout(400)
    kind = {"type": "jpeg", "quality": 82} if path.suffix == ".jpg" else {"type": "png"}
    page.screenshot(path=path, full_page=whole, **kind)
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(options.site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if options.all is None:
            for name, (page, scheme) in SHOWN.items():
                photograph(browser, root + page, PICTURES / name, scheme)
        for index in sorted(options.site.rglob("index.html")) if options.all else ():
            page = index.parent.relative_to(options.site).as_posix().removeprefix(".")
            name = page.replace("/", "_") or "home"
            options.all.mkdir(parents=True, exist_ok=True)
            for width in (1280, 390):
                photograph(browser, f"{root}{page}", options.all / f"{name}.{width}.png", "light", width, whole=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
