"""Routes of clips: a job each, with progress, partial results, cancelling, and files."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from instructseg.serve.engine.clips import ENDED, ClipJob
from instructseg.serve.engine.engine import Engine
from instructseg.serve.errors import NotFound
from instructseg.serve.http import schemas
from instructseg.serve.http.documentation import multipart_only
from instructseg.serve.http.failures import RESPONSES
from instructseg.serve.http.parsing import read_clip
from instructseg.serve.messages import ClipRequest

Name = Annotated[str, Path(description="the clip's id")]


def clip_routes(engine: Engine) -> APIRouter:
    """POST /v1/videos; GET, cancel and DELETE /v1/videos/{id}, with its frames and files."""
    router = APIRouter(prefix="/v1/videos", responses=RESPONSES, tags=["videos"])
    jobs = engine.clips

    @router.post(
        "", response_model=schemas.ClipState, status_code=202,
        openapi_extra=multipart_only(schemas.ClipInstructions, "clip"),
    )  # fmt: skip
    async def start(request: Request) -> dict[str, Any]:
        """Segment a clip in the background."""
        engine.refuse_when_draining()
        name, folder = jobs.new_folder()
        try:
            fields = await read_clip(request, schemas.ClipInstructions, engine.limits, folder / "clip")
            clip = ClipRequest(name, folder / "clip", tuple(fields.instructions), video_options(fields), fields.files)
            return describe(jobs.start(clip))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @router.get("/{id}", response_model=schemas.ClipState)
    async def state(id: Name) -> dict[str, Any]:
        """How far the clip is."""
        return describe(jobs.get(id))

    @router.get("/{id}/frames", response_model=schemas.ClipFrames)
    async def frames(
        id: Name, start: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> dict[str, Any]:
        """Results of frames, as soon as they are computed (with offline linking: at the end)."""
        job = jobs.get(id)
        chosen = job.frames[start : start + limit]
        job.fetched = job.fetched or (job.state in ENDED and start + len(chosen) >= len(job.frames))
        return {"id": id, "state": job.state, "start": start, "frames": chosen}

    @router.post("/{id}/cancel", response_model=schemas.ClipState)
    async def cancel(id: Name) -> dict[str, Any]:
        """Stop the clip after its current frame; the results so far are kept."""
        return describe(jobs.cancel(id))

    @router.delete("/{id}", status_code=204)
    async def delete(id: Name) -> Response:
        """Stop the clip and delete its results and files."""
        jobs.delete(id)
        return Response(status_code=204)

    @router.get("/{id}/files/{name}", response_class=FileResponse)
    async def file(id: Name, name: str) -> FileResponse:
        """overlay.mp4, masks.zip or result.json of a clip that was started with `files`."""
        job = jobs.get(id)
        if name not in job.files:
            raise NotFound("no such file; a clip has files when it is done and was started with files=true")
        job.fetched = True
        return FileResponse(job.files[name], filename=name)

    return router


def video_options(fields: schemas.ClipInstructions) -> dict[str, Any]:
    """The fields as `VideoOptions`."""
    return fields.model_dump(exclude={"instructions", "files"})


def describe(job: ClipJob) -> dict[str, Any]:
    """The job as `schemas.ClipState`."""
    return {
        "id": job.id,
        "state": job.state,
        "instructions": list(job.texts),
        "frames_done": job.done,
        "frames_total": job.total,
        "seconds": job.seconds,
        "seconds_left": job.seconds_left,
        "error": job.error,
        "files": sorted(job.files),
    }
