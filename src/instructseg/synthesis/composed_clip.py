"""A composed clip: cut-outs that move over a photo, with slight camera motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.pixels import StoredPhoto, View, jitter_color, scene_in_view
from instructseg.synthesis.scene import Scene, SceneObject
from instructseg.synthesis.trajectories import Trajectory

CLIP_WORDS = ("video", "clip")
_MAX_CAMERA_MOTION = 0.02  # pan (share of the picture) and zoom over the clip, too small to be described


@dataclass(frozen=True)
class ClipMoment:
    """A clip at one time.

    `scene` is the picture with its visible objects; the nouns of hidden moving objects are uncertain in it. `whole`
    also has the hidden objects, without pixels, for expressions about the whole clip. `moving` are the moving objects
    in the order of the trajectories; `motions` are their motions, keyed by `id(object)`.
    """

    scene: Scene
    whole: Scene
    moving: tuple[SceneObject, ...]
    motions: dict[int, ObjectMotion]


@dataclass(frozen=True)
class ComposedClip:
    """A photo, the trajectories of the objects that move over it (the last one in front), and the camera.

    `camera` is the motion (right, down, zoom) over the clip; `gain` (3,) and `bias` are its colour jitter.
    """

    photo: StoredPhoto
    view: View
    trajectories: tuple[Trajectory, ...]
    camera: np.ndarray
    gain: np.ndarray
    bias: float

    @classmethod
    def draw(
        cls, photo: StoredPhoto, view: View, trajectories: Sequence[Trajectory], rng: np.random.Generator
    ) -> ComposedClip:
        """A clip with a random camera."""
        camera = rng.uniform(-_MAX_CAMERA_MOTION, _MAX_CAMERA_MOTION, 3)
        return cls(photo, view, tuple(trajectories), camera, rng.uniform(0.9, 1.1, 3), rng.uniform(-10, 10))

    def frame_at(self, time: float) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
        """The frame at a time 0..1, RGB uint8 (height, width, 3), and the moving objects in it."""
        scene = Scene(self._background(self._view_at(time)), [])
        return scene.image, tuple(trajectory.paste_into(scene, time) for trajectory in self.trajectories)

    def moment_at(self, time: float) -> ClipMoment:
        """The frame at a time 0..1 with all its objects, moving or not."""
        view = self._view_at(time)
        scene = scene_in_view(self.photo, view, self._background(view))
        uncertain, all_objects = set(scene.uncertain_nouns), list(scene.objects)
        moving = []
        for trajectory in self.trajectories:
            moving.append(trajectory.paste_into(scene, time))
            all_objects += scene.objects
        moving_ids, visible_ids = set(map(id, moving)), set(map(id, scene.objects))
        uncertain |= {obj.name for obj in all_objects if id(obj) not in visible_ids | moving_ids}
        hidden = [obj for obj in moving if id(obj) not in visible_ids]
        scene.uncertain_nouns |= {obj.name for obj in hidden}
        motions = {id(obj): path.motion for obj, path in zip(moving, self.trajectories, strict=True)}
        return ClipMoment(scene, Scene(scene.image, scene.objects + hidden, uncertain), tuple(moving), motions)

    def _view_at(self, time: float) -> View:
        """The view after the camera's motion until `time`: shifted, and zoomed about the picture's centre."""
        view, camera = self.view, self.camera * (time - 0.5)
        zoom = 1 + float(camera[2])
        shift_x = view.size[1] * (float(camera[0]) + (1 - zoom) / 2)
        shift_y = view.size[0] * (float(camera[1]) + (1 - zoom) / 2)
        return View(view.ax * zoom, view.bx * zoom + shift_x, view.ay * zoom, view.by * zoom + shift_y, view.size)

    def _background(self, view: View) -> np.ndarray:
        matrix = np.array([[view.ax, 0, view.bx], [0, view.ay, view.by]])
        size = (view.size[1], view.size[0])
        image = cv2.warpAffine(
            self.photo.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return jitter_color(image, self.gain, self.bias, 1.0)


def inset_view(photo: StoredPhoto, longest_side: int, rng: np.random.Generator) -> View:
    """A view of the photo without a 3 % margin, which leaves room for camera motion; mirrored at random.

    `longest_side` is the longest side of the picture in pixels.
    """
    height, width = photo.image.shape[:2]
    inset_x, inset_y = round(0.03 * width), round(0.03 * height)
    window = (inset_x, inset_y, width - inset_x, height - inset_y)
    scale = longest_side / max(height, width)
    return View.of_window(window, (round(height * scale), round(width * scale)), bool(rng.random() < 0.5))
