"""Segment a photo with an ONNX export and without torch; needs onnxruntime, tokenizers, NumPy and Pillow.

instructseg export nano nano-onnx --onnx                            # once, where instructseg is installed
python onnx_photo.py nano-onnx photo.jpg "the dog" "the red ball"   # anywhere; writes photo.0.png, photo.1.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer


class OnnxModel:
    """The files of an export: `settings`, and the graphs encode, prefix and answer."""

    def __init__(self, folder, threads=0):
        folder = Path(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: one for each core
        self.graphs = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
            for name in ("encode", "prefix", "answer")
        }
        self.settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True  # "[SEG]" in a user's text is plain text

    def run(self, graph, named):
        """The outputs of a graph by name, from those of the named arrays that it reads."""
        session = self.graphs[graph]
        feed = {item.name: named[item.name] for item in session.get_inputs()}
        return dict(zip([item.name for item in session.get_outputs()], session.run(None, feed), strict=True))

    def encode(self, photo, task="res"):
        """Everything that depends on the photo (a PIL image) and the task alone: compute it once, ask many times.

        task: "res" for descriptions, "reason_seg" for questions.
        """
        image, clip = self.settings["image"], self.settings["clip_image"]
        pixels = np.full((image["side"], image["side"], 3), 128, np.uint8)
        height, width = self.covered(photo)
        pixels[:height, :width] = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))
        named = {"pixel_values": normalise(pixels, image["mean"], image["std"])}
        if clip:
            small = photo.resize((clip["side"], clip["side"]), Image.Resampling.BICUBIC)
            named["clip_pixel_values"] = normalise(np.asarray(small), clip["mean"], clip["std"])
        prompts = self.settings["prompts"][task].items()
        features = self.run("encode", named) | {name: np.array(ids, np.int64) for name, ids in prompts}
        return features | self.run("prefix", features)

    def answer(self, features, texts):
        """Mask logits (texts, proposals, h, w) and scores (texts, proposals) in 0..1."""
        space = " " if self.settings["leading_space"] else ""
        ids = [self.tokenizer.encode(space + " ".join(text.split()), add_special_tokens=False).ids for text in texts]
        words = np.full((len(ids), max(map(len, ids)) + 1), -1, np.int64)
        for row, tokens in zip(words, ids, strict=True):
            row[: len(tokens) + 1] = [*tokens, self.settings["seg_id"]]
        found = self.run("answer", features | {"words": words})
        return found["mask_logits"], sigmoid(found["score_logits"])

    def segment(self, photo, texts, task="res"):
        """The best mask of each text, bool (texts, height, width); empty where no score reaches the threshold."""
        photo = ImageOps.exif_transpose(photo).convert("RGB")
        masks = []
        for logits, scores in zip(*self.answer(self.encode(photo, task), texts), strict=True):
            if self.settings["selection"] == "score_x_quality":
                scores = scores * [quality(self.restore(proposal, photo)) for proposal in logits]
            best = int(scores.argmax())
            found = scores[best] >= self.settings["score_threshold"]
            masks.append((self.restore(logits[best], photo) > 0) & found)
        return np.stack(masks)

    def covered(self, photo):
        """(height, width) in pixels that the photo covers in the square input, from the top left corner."""
        image = self.settings["image"]
        if image["resize"] == "stretch":
            return image["side"], image["side"]
        scale = image["side"] / max(photo.size)
        return max(1, int(photo.height * scale + 0.5)), max(1, int(photo.width * scale + 0.5))

    def restore(self, logits, photo):
        """Mask logits (h, w) of the square input -> (height, width) of the photo."""
        if self.settings["image"]["resize"] == "pad":
            side, (height, width) = self.settings["image"]["side"], self.covered(photo)
            logits = resize(logits, side, side)[:height, :width]
        return resize(logits, photo.height, photo.width)


def normalise(pixels, mean, std):
    """uint8 (height, width, 3) -> float32 (1, 3, height, width)."""
    scaled = (pixels.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def quality(logits):
    """Mean foreground probability of a mask."""
    return (sigmoid(logits) * (logits > 0)).sum() / ((logits > 0).sum() + 1e-6)


def resize(array, height, width):
    """Bilinear between the centres of cells: (h, w) -> (height, width)."""
    for axis, length in enumerate((height, width)):
        place = (np.arange(length, dtype=np.float32) + 0.5) * (array.shape[axis] / length) - 0.5
        place = place.clip(0, array.shape[axis] - 1)
        low = place.astype(np.int64)
        share = (place - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        high = np.minimum(low + 1, array.shape[axis] - 1)
        array = array.take(low, axis) * (1 - share) + array.take(high, axis) * share
    return array


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Segment a photo with an ONNX export.")
    parser.add_argument("model", help="folder that `instructseg export MODEL DIR --onnx` wrote")
    parser.add_argument("photo", type=Path)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--task", choices=["res", "reason_seg"], default="res", help="reason_seg: for questions")
    given = parser.parse_args()
    with Image.open(given.photo) as opened:
        answers = OnnxModel(given.model).segment(opened, given.texts, given.task)
    for index, (text, mask) in enumerate(zip(given.texts, answers, strict=True)):
        path = given.photo.with_suffix(f".{index}.png")
        Image.fromarray(mask).save(path)
        print(f"{text!r}: {mask.mean():.1%} of the photo -> {path}")
