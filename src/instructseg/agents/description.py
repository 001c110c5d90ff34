"""A prediction as an agent reads it: sentences, numbers, and the overlay as a small JPEG file."""

from __future__ import annotations

from PIL import Image
from pydantic import BaseModel, Field

from instructseg.inference.prediction import Prediction
from instructseg.media.pixels import encode_image

OVERLAY_SIDE = 1024
"""Longer side of the overlay in pixels; chat clients refuse or shrink larger images."""
OVERLAY_QUALITY = 90

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")


class FoundObject(BaseModel):
    """One mask of the answer."""

    score: float = Field(description="0 to 1")
    box: list[float] = Field(description="x0, y0, x1, y1 in pixels of the photo; the origin is the top left corner")
    area: int = Field(description="pixels of the mask")
    share: float = Field(description="area of the mask as a share of the photo, 0 to 1")
    position: str = Field(description="which ninth of the photo the center of the box is in, such as 'top left'")


class Answer(BaseModel):
    """What `segment` found."""

    image: str = Field(description="the photo's path in the folder")
    instruction: str
    found: bool = Field(description="false: the model found nothing in the photo that fits the instruction")
    height: int = Field(description="of the photo in pixels")
    width: int = Field(description="of the photo in pixels")
    objects: list[FoundObject] = Field(description="best first; masks without a pixel are left out")


def describe(name: str, prediction: Prediction) -> Answer:
    """The numbers of a prediction; `name` is the photo's path as the agent may repeat it."""
    height, width = prediction.size
    found = []
    for mask, score, box in zip(prediction.masks, prediction.scores, prediction.boxes.tolist(), strict=True):
        if area := int(mask.sum()):
            share, position = area / mask.size, _position(box, height, width)
            found.append(FoundObject(score=float(score), box=box, area=area, share=share, position=position))
    return Answer(
        image=name, instruction=prediction.instruction, found=prediction.found, height=height, width=width,
        objects=found,
    )  # fmt: skip


def to_words(answer: Answer) -> str:
    """The answer in sentences, one line for each object."""
    photo = f"{answer.image} ({answer.width} x {answer.height} pixels)"
    if not answer.objects:
        return f'No target: the model found nothing in {photo} that fits "{answer.instruction}".'
    count = f"{len(answer.objects)} object" + "s" * (len(answer.objects) > 1)
    lines = [f'{count} for "{answer.instruction}" in {photo}:']
    for number, item in enumerate(answer.objects, 1):
        left, top, right, bottom = (f"{edge:g}" for edge in item.box)
        lines.append(
            f"{number}. score {item.score:.2f}, {item.position}; box from x {left}, y {top} to x {right}, y {bottom}; "
            f"area {item.area:,} pixels, {_percent(item.share)} of the photo"
        )
    return "\n".join(lines)


def overlay_jpeg(prediction: Prediction) -> bytes:
    """The photo with masks, scores and the instruction drawn on it, as a JPEG file of at most OVERLAY_SIDE pixels."""
    picture = Image.fromarray(prediction.overlay())
    picture.thumbnail((OVERLAY_SIDE, OVERLAY_SIDE))
    return encode_image(picture, "JPEG", quality=OVERLAY_QUALITY)


def _position(box: list[float], height: int, width: int) -> str:
    left, top, right, bottom = box
    row = ROWS[min(2, int((top + bottom) / 2 / height * 3))]
    column = COLUMNS[min(2, int((left + right) / 2 / width * 3))]
    return column if row == "middle" and column == "center" else f"{row} {column}"


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"
