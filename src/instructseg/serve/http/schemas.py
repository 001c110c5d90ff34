"""What requests and answers look like; OpenAPI is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from instructseg.types import Linking

PhotoTask = Literal["res", "reason_seg"]
ClipTask = Literal["rvos", "reason_vos"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    """An empty form field stands for the default."""
    return None if value == "" else value


Texts = Annotated[
    list[str],
    BeforeValidator(_listed),
    Field(
        description="What to segment: one instruction or several.",
        examples=[["the man", "the camera"]],
        json_schema_extra={"items": {"type": "string", "minLength": 1, "pattern": r"\S"}},
    ),
]
Threshold = Annotated[float | None, BeforeValidator(_none_if_empty)]
THRESHOLD = Field(None, ge=0, le=1, description="Minimum score of a mask; default: the model's. 0 keeps the best.")


PHOTO = Field(
    description="An image file (JPEG, PNG, WebP, ...) in base64, with or without a `data:` prefix.",
    json_schema_extra={"contentEncoding": "base64"},
)


class Body(BaseModel):
    """Base of request bodies: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Instructions(Body):
    """Instructions about a photo that is known already."""

    instructions: Texts = Field(min_length=1)
    task: Annotated[PhotoTask | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="res: the instruction names the object; reason_seg: it implies it. Default: by its form."
    )
    max_masks: Annotated[int | None, BeforeValidator(_none_if_empty)] = Field(
        None, ge=1, le=100, description="Maximum number of masks per instruction. Default: as the instruction asks."
    )
    threshold: Threshold = THRESHOLD
    masks: Literal["rle", "png"] = Field("rle", description="Masks as COCO RLE, or as PNG files (0/255) in base64.")


class PhotoInstructions(Instructions):
    """A photo (base64) and instructions about it."""

    photo: str = PHOTO


class NewSession(PhotoInstructions):
    """A photo (base64) to keep; instructions may follow later."""

    instructions: Texts = []


class Question(Body):
    """A question about a photo that is known already."""

    question: str = Field(
        description="Answered in words.", examples=["What is the man holding?"], min_length=1,
        json_schema_extra={"pattern": r"\S"},
    )  # fmt: skip
    max_tokens: int = Field(128, ge=1, le=512, description="Maximum number of tokens of the answer.")


class PhotoQuestion(Question):
    """A photo (base64) and a question about it."""

    photo: str = PHOTO


class NextQuestion(Question):
    """A question after the earlier ones about the photo of a session."""

    new_conversation: bool = Field(False, description="Forget the earlier questions and answers first.")


class ClipInstructions(Body):
    """The form fields sent along with the clip."""

    instructions: Texts = Field(min_length=1)
    task: Annotated[ClipTask | None, BeforeValidator(_none_if_empty)] = None
    threshold: Threshold = THRESHOLD
    linking: Linking = Field(
        "causal", description="causal and off give partial results; offline links over the whole clip, at its end."
    )
    every: int = Field(1, ge=1, le=10_000, description="Segment every n-th frame.")
    start: float = Field(0.0, ge=0, le=1e6, description="Seconds to start at.")
    end: Annotated[float | None, BeforeValidator(_none_if_empty)] = Field(
        None, gt=0, le=1e6, description="Seconds to stop before."
    )
    max_side: Annotated[int | None, BeforeValidator(_none_if_empty)] = Field(
        None, ge=8, le=65_535, description="Shrink frames to this longer side."
    )
    files: bool = Field(False, description="Also write overlay.mp4 and masks.zip.")


class FoundObject(BaseModel):
    """One mask."""

    score: float = Field(description="0..1")
    box: list[float] = Field(description="x0, y0, x1, y1 in pixels")
    bbox: list[float] = Field(description="x, y, width, height in pixels, as COCO has it")
    area: int = Field(description="pixels")
    category_id: int
    segmentation: dict[str, Any] | None = Field(description="COCO RLE; null if PNG was asked for")
    png: str | None = Field(None, description="the mask as a PNG file (0/255), base64")


class TextResult(BaseModel):
    """The result of one instruction."""

    instruction: str
    task: PhotoTask
    found: bool = Field(description='false: "no target", the instruction names nothing that is in the photo')
    scores: list[float]
    objects: list[FoundObject] = Field(description="best first")
    size: list[int] = Field(description="height, width of the photo in pixels")
    model: str | None
    image_hash: str
    package_version: str


class Results(BaseModel):
    """The results in the order of the instructions."""

    results: list[TextResult]


class ChatAnswer(BaseModel):
    """The answer to a question."""

    question: str
    answer: str
    turns: int = Field(description="questions of the conversation so far, this one included")
    model: str | None


class SessionResults(Results):
    """A kept photo and the results of its first instructions."""

    session: str = Field(description="the session's name, for /v1/sessions/{session}/segment")
    size: list[int] = Field(description="height, width of the photo in pixels")
    expires_in: float = Field(description="seconds without use after which the session is dropped")


class ClipState(BaseModel):
    """How far a clip is."""

    id: str
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    instructions: list[str]
    frames_done: int
    frames_total: int | None = Field(description="estimated; null if unknown")
    seconds: float = Field(description="seconds computed so far")
    seconds_left: float | None = Field(description="estimated; null if unknown")
    error: str | None = Field(description="why it failed or ended early")
    files: list[str] = Field(description="names for /v1/videos/{id}/files/{name}")


class ClipFrames(BaseModel):
    """Results of frames, from `start` on."""

    id: str
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    start: int
    frames: list[dict[str, Any]] = Field(
        description="index, time (seconds), name, size and, for each instruction, present, score and segmentation (RLE)"
    )


class Health(BaseModel):
    """Whether the server takes requests, and what it serves."""

    status: Literal["ok", "starting", "shutting down"]
    model: str | None
    device: str | None
    score_threshold: float | None
    writes_text: bool | None = Field(description="whether the model was trained to write text, which /v1/chat needs")
    waiting_requests: int
    sessions: int
    active_clips: int
    worker_restarts: int
    version: str


class ErrorDetail(BaseModel):
    """What was wrong, in words."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a result."""

    error: ErrorDetail
