"""Small datasets of every kind that a mixture can hold, written in their published layouts."""

import json

import numpy as np
from PIL import Image

TALK = "llava_dataset/llava_instruct_150k.json"
QUESTIONS = (("what is the color?", "the dog is red"), ("is there a cat", "there are cat and kite"))


def photo(seed, size=(40, 56)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def square(left, size=(40, 56)):
    mask = np.zeros(size, bool)
    mask[8:24, left : left + 16] = True
    return mask


def write_talk(root, photos=3):
    """LLaVA's form: conversations of one and two turns; the first record has no photo, the last no answer."""
    records = [{"id": "none", "conversations": _said(1)}]
    for at in range(photos):
        records.append({"id": f"t{at}", "image": f"{at}.jpg", "conversations": _said(1 + at % 2, "<image>\n")})
    unanswered = {"id": "asked", "image": "0.jpg", "conversations": _said(1, "<image>\n")[:1]}
    (root / TALK).parent.mkdir(parents=True)
    (root / TALK).write_text(json.dumps([*records, unanswered]))
    folder = root / "coco" / "train2017"
    folder.mkdir(parents=True)
    for at in range(photos):
        Image.fromarray(photo(at)).save(folder / f"{at}.jpg")


def _said(turns, mark=""):
    said = []
    for at, (question, answer) in enumerate(QUESTIONS[:turns]):
        said += [{"from": "human", "value": ("" if at else mark) + question}, {"from": "gpt", "value": answer}]
    return said


def write_clips(root, clips=("abc", "xyz"), frames=6):
    """Ref-YouTube-VOS: an object that moves to the right in each clip, and a sentence about it."""
    names, listing = [f"{5 * at:05d}" for at in range(frames)], {}
    home = root / "ref_youtube_vos"
    for number, clip in enumerate(clips):
        for kind in ("JPEGImages", "Annotations"):
            (home / "train" / kind / clip).mkdir(parents=True)
        for at, name in enumerate(names):
            Image.fromarray(photo(10 * number + at)).save(home / f"train/JPEGImages/{clip}/{name}.jpg")
            labels = Image.fromarray(square(4 * at).astype(np.uint8))
            labels.save(home / f"train/Annotations/{clip}/{name}.png")
        listing[clip] = {"frames": names, "expressions": {"0": {"exp": "the big dog", "obj_id": "1"}}}
    table = home / "meta_expressions" / "train" / "meta_expressions.json"
    table.parent.mkdir(parents=True)
    table.write_text(json.dumps({"videos": listing}))


def write_labelme(folder, photos=8):
    """LabelMe: two labelled rectangles in each photo."""
    folder.mkdir(parents=True)
    for at in range(photos):
        Image.fromarray(photo(at)).save(folder / f"p{at}.jpg")
        shapes = [
            {"label": name, "points": [[left, 8], [left + 15, 23]], "shape_type": "rectangle", "group_id": None}
            for name, left in (("dog", 2), ("kite", 30))
        ]
        content = {"shapes": shapes, "imagePath": f"p{at}.jpg", "imageData": None, "imageHeight": 40, "imageWidth": 56}
        (folder / f"p{at}.json").write_text(json.dumps(content))


def write_triples(folder, photos=8, sentences=6):
    """Photo, mask and sentences of one name; every third photo has no mask: nothing there is meant."""
    folder.mkdir(parents=True)
    for at in range(photos):
        Image.fromarray(photo(at)).save(folder / f"p{at}.jpg")
        if at % 3:
            Image.fromarray(square(2 * at).astype(np.uint8) * 255).save(folder / f"p{at}.png")
        (folder / f"p{at}.txt").write_text("\n".join(f"the dog {number}" for number in range(sentences)))
