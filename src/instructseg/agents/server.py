"""The server: one tool, `segment`, about the photos of one folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from instructseg._version import __version__
from instructseg.agents.description import Answer, describe, overlay_jpeg, to_words
from instructseg.agents.photo_folder import PhotoFolder
from instructseg.errors import InstructSegError
from instructseg.inference.image_session import ImageSession
from instructseg.inference.segmenter import Segmenter

TOOL = """Segment the object that an instruction describes in a photo.

Returns, for each object found, its score, box, area and position in words and as numbers, and the photo with the masks
drawn on it. "No target" means that the model found nothing that fits. Ask for one object, or one plural, per call, in
English: "the dog on the left", "the cups", "what can be used to cut paper?". Check the overlay: the model may be wrong.
Further questions about the same photo are answered faster."""

ImagePath = Annotated[str, Field(description="Path of the photo, relative to the server's folder or absolute in it.")]
Instruction = Annotated[str, Field(description="What to segment: a description of the object, or a question.")]


class PhotoTool:
    """Answers calls one after the other; the photo of the last call stays encoded."""

    def __init__(self, segmenter: Segmenter, folder: PhotoFolder):
        self.segmenter, self.folder = segmenter, folder
        self._lock = threading.Lock()  # calls come from several threads, the model takes one at a time
        self._last: tuple[tuple[object, ...], ImageSession] | None = None

    def segment(self, image: ImagePath, instruction: Instruction) -> Annotated[CallToolResult, Answer]:
        """The tool. Raises ToolError, whose text the agent reads."""
        try:
            path = self.folder.find(image)
            with self._lock:
                prediction = self._open(path).segment(instruction)
        except InstructSegError as error:
            raise ToolError(str(error)) from error
        answer = describe(path.relative_to(self.folder.root).as_posix(), prediction)
        picture = Image(data=overlay_jpeg(prediction), format="jpeg").to_image_content()
        words = TextContent(type="text", text=to_words(answer))
        return CallToolResult(content=[words, picture], structured_content=answer.model_dump())

    def _open(self, path: Path) -> ImageSession:
        """A session on the photo: that of the last call, if the file is the same and unchanged."""
        state = os.stat(path)
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns)
        if self._last is None or self._last[0] != key:
            self._last = None  # its features are freed before those of the next photo are made
            self._last = key, self.segmenter.open(path)
        return self._last[1]


def create_server(segmenter: Segmenter, folder: PhotoFolder) -> MCPServer:
    """The server with its tool; `run("stdio")` serves it."""
    server = MCPServer(
        "instructseg", title="InstructSeg", version=__version__, website_url="https://arxiv.org/abs/2412.14006",
        instructions=f"Finds objects in the photos of {folder.root} by descriptions; see the tool `segment`.",
        log_level="WARNING",
    )  # fmt: skip
    annotations = ToolAnnotations(
        title="Segment a photo", read_only_hint=True, destructive_hint=False, idempotent_hint=True,
        open_world_hint=False,
    )  # fmt: skip
    tool = PhotoTool(segmenter, folder)
    server.add_tool(tool.segment, description=f"{TOOL}\n\nPhotos: {folder.root}", annotations=annotations)
    return server
