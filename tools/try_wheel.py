"""Try an installed package outside its checkout: the program's main commands, on files that it brings.

    python -m venv /tmp/empty && /tmp/empty/bin/pip install 'dist/instructseg-X-py3-none-any.whl[serve]'
    /tmp/empty/bin/python tools/try_wheel.py

It prints a line per command; exit code 1 and the command's output if one fails.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

import instructseg

START_SECONDS = 120
COPIES = 3
SHAPE = [[100.0, 60.0, 300.0, 60.0, 300.0, 260.0, 100.0, 260.0]]


def main() -> None:
    package = Path(instructseg.__file__).parent
    if "site-packages" not in package.parts:
        sys.exit(f"expected the package in site-packages, got {package}; install the wheel, not the checkout")
    program = str(Path(sys.executable).with_name("instructseg"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_coco(package / "examples")
        for words in (
            ["segment", "images/camera-0.jpg", "the man", "-o", "out"],
            ["train", "finetune", "data=coco.json", "steps=2", "validate_every=2", "batch_photos=1", "output=run"],
            ["segment", "images/camera-0.jpg", "the man", "--model", "run/model", "-o", "tuned"],
            ["reproduce", "table6", "--help"],
        ):
            run(program, *words)
        ask_server(program)


def write_coco(photos: Path) -> None:
    """coco.json and images/: copies of the package's photos with one labelled object each."""
    Path("images").mkdir()
    images, shapes = [], []
    pairs = [(photo, copy) for copy in range(COPIES) for photo in sorted(photos.glob("*.jpg"))]
    for number, (photo, copy) in enumerate(pairs):
        name = f"{photo.stem}-{copy}.jpg"
        shutil.copy(photo, Path("images", name))
        width, height = Image.open(photo).size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        shapes.append({"id": number, "image_id": number, "category_id": 1, "segmentation": SHAPE, "area": 40000,
                       "bbox": [100, 60, 200, 200], "iscrowd": 0})  # fmt: skip
    content = {"images": images, "annotations": shapes, "categories": [{"id": 1, "name": "cup"}]}
    Path("coco.json").write_text(json.dumps(content), encoding="utf-8")


def run(*command: str) -> None:
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    shown = " ".join(["instructseg", *command[1:]])
    if done.returncode:
        sys.exit(f"{shown}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"{time.monotonic() - start:6.1f} s  {shown}", flush=True)


def ask_server(program: str) -> None:
    """Start the server on a free port, read its state, stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = time.monotonic()
    with Path("server.log").open("w+", encoding="utf-8") as log:
        server = subprocess.Popen([program, "serve", "--port", port], stderr=log, stdout=log)
        try:
            while time.monotonic() - start < START_SECONDS and server.poll() is None:
                time.sleep(0.5)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                        print(f"{time.monotonic() - start:6.1f} s  instructseg serve: {answer.read().decode()}")
                        return
                except OSError:  # it is still loading the model
                    continue
            sys.exit(f"instructseg serve did not answer\n{Path('server.log').read_text(encoding='utf-8')}")
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    main()
