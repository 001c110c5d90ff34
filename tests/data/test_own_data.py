"""Own data as people have it: each form is recognized, usable entries are read, and the others are listed."""

import base64
import io
import json
import re
import shutil
from itertools import pairwise

import numpy as np
import own_files
import pytest
from own_files import BALL, BOX, PHOTOS, SIZE, corners, labelme, yolo_line
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.data.own_data import Form, check_own_data, find_form, find_photos
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.labelme import LabelMe, LabelMePhotos
from instructseg.data.readers.yolo import Yolo, YoloPhotos
from instructseg.errors import DataError


def left_out(path):
    """The number of photos, and what is left out as "entry: reason"."""
    report = check_own_data(path)
    return report.photos, [f"{problem.entry}: {problem.place} {problem.reason}" for problem in report.problems.faults]


def assert_left_out(path, photos, reasons):
    """`photos` are usable, and each of `reasons`, a pattern, is found in one of as many problems."""
    found, problems = left_out(path)
    assert found == photos and len(problems) == len(reasons), problems
    for reason in reasons:
        assert any(re.search(reason, problem) for problem in problems), (reason, problems)


WRITERS = {
    Form.COCO: own_files.write_coco,
    Form.LABELME: own_files.write_labelme,
    Form.YOLO: own_files.write_yolo,
    Form.TRIPLES: own_files.write_triples,
}


@pytest.mark.parametrize("form", WRITERS, ids=lambda form: form.name)
def test_forms_are_told_apart_and_stray_files_passed_over(form, tmp_path):
    path = WRITERS[form](tmp_path / "own")
    folder = tmp_path / "own"
    (folder / "README.txt").write_text("made by me\n")
    (folder / "requirements.json").write_text('["torch"]')
    (folder / "._p0.json").write_bytes(b"\0\5\x16\7")
    (folder / "._p0.txt").write_bytes(b"\0\5\x16\7")
    if form is not Form.YOLO:
        (folder / "labels.txt").write_text("__ignore__\n_background_\nbox\n")
    assert find_form(path) is form
    assert left_out(path) == (PHOTOS, [])


def test_forms_that_are_not_clear(tmp_path):
    own_files.write_labelme(tmp_path / "both")
    own_files.write_triples(tmp_path / "both")
    with pytest.raises(DataError, match=r"has LabelMe files .such as p0\.json. and NAME.txt with sentences; keep one"):
        find_form(tmp_path / "both")
    own_files.write_coco(tmp_path / "coco")
    with pytest.raises(DataError, match=r"pass the file: .*instances\.json"):
        find_form(tmp_path / "coco")
    own_files.paint(tmp_path / "photos")
    with pytest.raises(DataError, match="got none of these"):
        find_form(tmp_path / "photos")
    with pytest.raises(DataError, match="does not exist"):
        find_form(tmp_path / "nowhere")
    own_files.write_table(tmp_path / "table", as_lines(rows()))
    for name in ("both/p0.json", "both/p0.txt", "table/annotations.jsonl"):
        with pytest.raises(DataError, match="is one file of a folder of data; pass the folder"):
            find_form(tmp_path / name)
    (tmp_path / "table/annotations.jsonl").rename(tmp_path / "table/Annotations.JSONL")
    assert left_out(tmp_path / "table") == (PHOTOS, [])


def test_values_that_are_expensive_to_print_or_to_match(tmp_path):
    """Aliases that expand to 10^9 entries, and digits that a pattern could match in many ways."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
    )
    with pytest.raises(DataError, match=r"data\.yaml is not valid YAML: expected at most 50000 values"):
        check_own_data(own_files.write_yolo(tmp_path / "bomb", names=f"{bomb}names: [*i, *i]\n"))
    own_files.paint(tmp_path / "digits")
    (tmp_path / "digits/p0.txt").write_text("0 " + "1234567890 " * 200 + "x")
    with pytest.raises(DataError, match="none of its sentences has a mask"):
        check_own_data(tmp_path / "digits")


# COCO: a change of the content, the number of usable photos, and what is left out.
def _without(key, entries="images"):
    return lambda content: [entry.pop(key) for entry in content[entries][-1:]]


def _set(entries, key, value, every=False):
    return lambda content: [entry.update({key: value}) for entry in content[entries][0 if every else -1 :]]


def _mask(segmentation, every=False):
    return _set("annotations", "segmentation", segmentation, every)


def _ids_as_text(content):
    for entry in content["annotations"]:
        entry.update(image_id=str(entry["image_id"]), category_id=float(entry["category_id"]))


COCO = {
    "no size": (lambda content: [image.pop(key) for image in content["images"] for key in ("height", "width")], 4, []),
    "size 0": (_set("images", "height", 0, every=True), 4, []),
    "ids as text": (_ids_as_text, 4, []),
    "a category id as text": (_set("categories", "id", "2"), 4, []),
    "iscrowd as text": (_set("annotations", "iscrowd", "0", every=True), 4, []),
    "iscrowd null": (_set("annotations", "iscrowd", None, every=True), 4, []),
    "an empty inner polygon": (lambda content: content["annotations"][-1]["segmentation"].append([]), 4, []),
    "backslashes": (_set("images", "file_name", ".\\p3.jpg"), 4, []),
    "a path of Windows": (_set("images", "file_name", "C:\\photos\\p3.jpg"), 4, []),
    "a suffix in capitals": (_set("images", "file_name", "P3.JPG"), 4, []),
    "extra keys": (_set("images", "license", [None]), 4, []),
    "no file name": (_without("file_name"), 3, ["key 'file_name' is missing", *2 * ['image_id 4 is not in "images"']]),
    "an id of infinity": (_set("annotations", "image_id", float("inf")), 4, ["image_id: expected text, got inf"]),
    "no image id": (_without("image_id", "annotations"), 4, ["annotation 8 the key 'image_id' is missing"]),
    "no category name": (_without("name", "categories"), 4, ["the key 'name'", *4 * ["category_id 2 has no name"]]),
    "unknown image": (_set("annotations", "image_id", 99), 4, ['annotation 8 image_id 99 is not in "images"']),
    "odd count": (_mask([[1, 2, 3, 4, 5, 6, 7]]), 4, ["one of 7 numbers"]),
    "two corners": (_mask([[1, 2, 3, 4]]), 4, ["at least 3 corners, got 2"]),
    "flat polygon": (_mask([1, 2, 3, 4, 5, 6]), 4, [r"\[0\]: expected a list, got 1"]),
    "NaN": (_mask([[float("nan")] * 6]), 4, [r"\[0\]\[0\]: expected a finite number, got nan"]),
    "null corner": (_mask([[1, 2, 3, None, 5, 6]]), 4, [r"\[0\]\[3\]: expected a number, got null"]),
    "a corner as text": (_mask([[1, 2, 3, "4", 5, 6]]), 4, [r"\[0\]\[3\]: expected a number, got '4'"]),
    "true as a corner": (_mask([[1, 2, 3, True, 5, 6]]), 4, [r"\[0\]\[3\]: expected a number, got True"]),
    "a corner of 400 digits": (_mask([[1, 2, 3, 10**400, 5, 6]]), 4, [r"\[0\]\[3\]: expected a number, got 1000"]),
    "RLE without counts": (_mask({"size": [4, 5]}), 4, ["the key 'segmentation.counts' is missing"]),
    "RLE of another size": (_mask({"size": [56, 40], "counts": [2240]}), 4, ["its mask is .56, 40."]),
    "damaged RLE": (_mask({"size": [40, 56], "counts": [7]}), 4, ["annotation 8 .* = 2240 pixels, got 7 in 1 runs"]),
    "RLE whose sum wraps": (
        _mask({"size": [40, 56], "counts": [2**63 - 1, 2**63 - 1, 2242]}), 4, [r"annotation 8 .* below 2\*\*53"]
    ),
    "a huge RLE": (_mask({"size": [100_000, 100_000], "counts": [10**10]}), 4, ["its mask is .100000, 100000."]),
    "box only": (_mask([]), 4, ["annotation 8 .* got a box but no mask"]),
    "no object": (lambda content: content["annotations"].append(None), 4, [r"\[8\] expected an object"]),
    "iscrowd 7": (_set("annotations", "iscrowd", 7), 4, ["annotation 8 iscrowd: expected 0 or 1"]),
    "one id twice": (_set("images", "id", 3), 2, ["images p2.jpg, p3.jpg have the id 3", *4 * ["image_id"]]),
    "one category twice": (_set("categories", "id", 1), 4, None),
    "missing photo": (_set("images", "file_name", "other.jpg"), 3, ["image 4 other.jpg is not in"]),
    "another size": (_set("images", "width", 57), 3, ["photo: coco/4"]),
}  # fmt: skip


@pytest.mark.parametrize("change, photos, reasons", COCO.values(), ids=COCO)
def test_coco_as_people_have_it(change, photos, reasons, tmp_path):
    content = own_files.coco()
    change(content)
    if reasons is None:
        with pytest.raises(DataError, match="'box' and 'ball' have the id 1"):
            check_own_data(own_files.write_coco(tmp_path, content))
        return
    assert_left_out(own_files.write_coco(tmp_path, content), photos, reasons)


REFUSED = {
    "categories null": (lambda content: content.update(categories=None), 'to be a list, got null'),
    "all crowds": (_set("annotations", "iscrowd", 1, every=True), "all 8 annotations are marked as crowds"),
    "all boxes": (_mask([], every=True), "none of 8 .* a box but no mask.*and 7 more"),
    "no photos": (lambda content: content.update(images=[]), "lists no photos"),
    "no photo there": (_set("images", "file_name", "x.jpg", every=True), "first photo of"),
}  # fmt: skip


@pytest.mark.parametrize("change, message", REFUSED.values(), ids=REFUSED)
def test_coco_of_which_nothing_can_be_used(change, message, tmp_path):
    content = own_files.coco()
    change(content)
    with pytest.raises(DataError, match=message):
        check_own_data(own_files.write_coco(tmp_path, content))


def test_coco_masks_are_the_same_in_every_spelling(tmp_path):
    expected = CocoInstances(own_files.write_coco(tmp_path / "a"), tmp_path / "a")[3]
    content = own_files.coco()
    _ids_as_text(content)
    content["annotations"][-1]["segmentation"].append([])
    found = CocoInstances(own_files.write_coco(tmp_path / "b", content, bom=True), tmp_path / "b")[3]
    assert [each.name for each in found.instances] == [each.name for each in expected.instances] == ["box", "ball"]
    for one, other in zip(found.instances, expected.instances, strict=True):
        assert (one.mask == other.mask).all() and one.mask.any()


def test_the_folder_of_photos_is_found_if_the_first_is_missing(tmp_path):
    file = own_files.write_coco(tmp_path)
    (tmp_path / "images").mkdir()
    for at in range(1, PHOTOS):
        shutil.move(tmp_path / f"p{at}.jpg", tmp_path / "images")
    (tmp_path / "p0.jpg").unlink()
    assert find_photos(file) == tmp_path / "images"


def _stored_photo():
    buffer = io.BytesIO()
    Image.new("RGB", SIZE[::-1], (9, 9, 9)).save(buffer, "PNG")
    return base64.encodebytes(buffer.getvalue()).decode()  # with line breaks


def _shape(**changes):
    return {"label": "tip", "points": corners(BOX), "shape_type": "polygon", **changes}


def _added(**changes):
    return lambda: labelme(PHOTOS - 1, [*own_files.SHAPES, _shape(**changes)])


LABELME = {
    "background": (lambda: labelme(3, []), 4, []),
    "ignored pixels": (_added(label="__ignore__"), 4, []),
    "four corners": (_added(shape_type="rectangle"), 4, []),
    "a turned rectangle": (_added(shape_type="rotation"), 4, []),
    "a label that is a number": (_added(label=7), 4, []),
    "a kind that is null": (_added(shape_type=None), 4, []),
    "a point": (_added(shape_type="point", points=[[3, 4]]), 4, ["shape: .*p3.json: shape 2 shape 'tip' is a point"]),
    "a line": (_added(shape_type="linestrip"), 4, ["is a linestrip, which has no area"]),
    "two corners": (_added(points=[[1, 2], [3, 4]]), 4, ["expected a polygon of at least 3 points, got 2"]),
    "no label": (_added(label=" "), 4, ["label: expected text, got"]),
    "unknown kind": (_added(shape_type="star"), 4, ["shape_type: expected 'polygon'"]),
    "infinity": (_added(points=[[1, 2], [3, 4], [float("inf"), 3]]), 4, [r"\[2\]\[0\]: expected a finite number"]),
    "no points": (_added(points=None), 4, ["points: expected a list, got null"]),
    "not an object": (lambda: labelme(3, [*own_files.SHAPES, 5]), 4, ["p3.json: shape 2 expected an object"]),
    "only a point": (lambda: labelme(3, [_shape(shape_type="point")]), 3, ["a point", "photo: .*none of its"]),
    "no shapes": (lambda: labelme(3, []) | {"shapes": None}, 3, ['expected "shapes" to be a list']),
    "a wrong size": (lambda: labelme(3, imageHeight=41), 3, ["photo: labelme/p3 .* was drawn on"]),
    "a size of text": (lambda: labelme(3, imageHeight="big"), 3, ["imageHeight: expected a whole number"]),
    "stored photo": (lambda: labelme(3, imagePath="x.jpg", imageData=_stored_photo()), 4, []),
    "a data address": (lambda: labelme(3, imagePath="x", imageData=f"data:image/png;base64,{_stored_photo()}"), 4, []),
    "a stored photo that is none": (lambda: labelme(3, imagePath="x", imageData="????"), 3, ["is not an image"]),
    "no path": (lambda: labelme(3, imagePath=None), 4, []),
    "a path of Windows": (lambda: labelme(3, imagePath="C:\\Users\\me\\p3.jpg"), 4, []),
    "a path that is gone": (lambda: labelme(3, imagePath="../old/p3.png"), 4, []),
}  # fmt: skip


@pytest.mark.parametrize("content, photos, reasons", LABELME.values(), ids=LABELME)
def test_labelme_as_people_have_it(content, photos, reasons, tmp_path):
    assert_left_out(own_files.write_labelme(tmp_path, last=content()), photos, reasons)


def test_labelme_files_that_are_damaged_or_have_no_photo(tmp_path):
    own_files.write_labelme(tmp_path)
    (tmp_path / "p1.json").write_text('{"shapes": [')
    (tmp_path / "p2.jpg").unlink()
    (tmp_path / "p3.jpg").write_bytes((tmp_path / "p3.jpg").read_bytes()[:200])
    photos, problems = left_out(tmp_path)
    assert photos == 1 and len(problems) == 3
    assert "p1.json is not valid JSON" in problems[0] and "its photo p2.jpg does not exist" in problems[1]
    assert problems[2].startswith("photo: labelme/p3")


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".Jpeg", ".bmp"])
def test_labelme_photos_of_other_suffixes(suffix, tmp_path):
    assert left_out(own_files.write_labelme(tmp_path, suffix)) == (PHOTOS, [])


def test_labelme_with_a_byte_order_mark_and_accents(tmp_path):
    own_files.write_labelme(tmp_path)
    (tmp_path / "p3.jpg").rename(tmp_path / "Ka\u0308fer.jpg")  # as macOS writes it
    content = json.dumps(labelme(3, imagePath="K\u00e4fer.jpg"))
    (tmp_path / "p3.json").write_text(content, encoding="utf-8-sig")
    assert left_out(tmp_path) == (PHOTOS, [])


def test_a_rectangle_of_four_corners_is_the_one_of_two(tmp_path):
    left, top, right, bottom = BOX
    two, four = _shape(shape_type="rectangle", points=[[left, top], [right, bottom]]), _shape(shape_type="rectangle")
    crossed = _shape(shape_type="rectangle", points=[[left, top], [right, bottom], [right, top], [left, bottom]])
    tilted = _shape(shape_type="rectangle", points=[[20, 5], [35, 20], [20, 35], [5, 20]])
    (tmp_path / "a").mkdir()
    own_files.write_labelme(tmp_path / "a", last=labelme(3, [two, four, crossed, tilted]))
    masks = [instance.mask for instance in LabelMePhotos(tmp_path / "a")[3].instances]
    assert (masks[0] == masks[1]).all() and (masks[0] == masks[2]).all()
    assert masks[3][20, 20] and not masks[3][8, 8]


def test_a_background_photo_shows_none_of_the_labels(tmp_path):
    sample = LabelMe(own_files.write_labelme(tmp_path / "a", last=labelme(3, [])))[3]
    assert [(each.text, each.mask) for each in sample.expressions] == [("ball", None), ("box", None)]
    sample = Yolo(own_files.write_yolo(tmp_path / "b", labels=""))[3]
    assert [(each.text, each.mask) for each in sample.expressions] == [("ball", None), ("box", None)]


NAMES = {
    "a list": "names: [box, ball]",
    "a mapping": "path: ../datasets/own\ntrain: images\nnames:\n  0: box\n  1: ball\n",
    "numbers": "nc: 2\nnames: ['box', 'ball']\n",
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_yolo_masks(names, tmp_path):
    photo = YoloPhotos(own_files.write_yolo(tmp_path, names))[0]
    assert [instance.name for instance in photo.instances] == ["box", "ball"]
    left, top, right, bottom = BOX
    expected = np.zeros(SIZE, bool)
    expected[top : bottom + 1, left : right + 1] = True
    assert (photo.instances[0].mask == expected).mean() > 0.98


LINE = yolo_line(0, BOX)
YOLO = {
    "a class 0.0": (LINE.replace("0 ", "0.0 ", 1), 4, []),
    "a corner slightly outside": ("0 -0.002 0.1 1.004 0.1 0.5 0.9", 4, []),
    "Windows": (f"\ufeff{LINE}\r\n\r\n", 4, []),
    "a box": (f"{LINE}\n1 0.5 0.5 0.2 0.2\n", 4, ["line: .*p3.txt, line 2 expected an outline, got a box"]),
    "a box with its score": (f"{LINE}\n1 0.5 0.5 0.2 0.2 0.9\n", 4, ["got a box"]),
    "an odd count": (f"{LINE}\n{LINE} 0.5\n", 4, ["x and y of at least 3 corners, got 9 numbers"]),
    "pixels": (f"{LINE}\n1 10 10 30 10 30 30\n", 4, ["corners as shares .* got 30; divide"]),
    "a word": (f"{LINE}\nbox 0.1 0.1 0.2 0.1 0.2 0.2\n", 4, ["category: expected a whole number"]),
    "NaN": (f"{LINE}\n0 nan 0.1 0.2 0.1 0.2 0.2\n", 4, ["expected a finite number"]),
    "a class without a name": (f"{LINE}\n{yolo_line(5, BALL)}\n", 4, ["class 5 has no name"]),
    "only boxes": ("1 0.5 0.5 0.2 0.2\n", 3, ["got a box"]),
}  # fmt: skip


@pytest.mark.parametrize("labels, photos, reasons", YOLO.values(), ids=YOLO)
def test_yolo_as_people_have_it(labels, photos, reasons, tmp_path):
    assert_left_out(own_files.write_yolo(tmp_path, labels=labels), photos, reasons)


def test_yolo_folders_of_every_layout(tmp_path):
    flat, split, roboflow = tmp_path / "flat", own_files.write_yolo(tmp_path / "split"), tmp_path / "roboflow"
    own_files.paint(flat)
    for at in range(PHOTOS):
        (flat / f"p{at}.txt").write_text(LINE)
    (flat / "classes.txt").write_text("box\nball\n")
    for part in ("images", "labels"):
        (split / part).rename(split / "train")
        (split / part).mkdir()
        (split / "train").rename(split / part / "train")
    own_files.write_yolo(roboflow / "train")
    (roboflow / "train/data.yaml").rename(roboflow / "data.yaml")
    own_files.write_yolo(roboflow / "valid")
    for folder in (flat, split, roboflow, roboflow / "train"):
        assert find_form(folder) is Form.YOLO and left_out(folder) == (PHOTOS, []), folder


def test_yolo_names_are_text(tmp_path):
    """YAML reads the words no, null and 2024-05-01 as false, nothing and a date."""
    for number, names in enumerate(("[no, 2024-05-01]", "{0: null, 1: 3}")):
        folder = own_files.write_yolo(tmp_path / str(number), names=f"names: {names}")
        assert set(check_own_data(folder).names) == [{"no", "2024-05-01"}, {"null", "3"}][number]


def test_yolo_labels_that_cannot_be_used(tmp_path):
    own_files.paint(tmp_path)
    for at in range(PHOTOS):
        (tmp_path / f"p{at}.txt").write_text("0 0.22 0.46 0.31 0.58\n1 0.72 0.54 0.31 0.58\n")
    with pytest.raises(DataError, match=r"has YOLO labels, but none .* got a box; training needs outlines.*and 7 more"):
        check_own_data(tmp_path)
    for at in range(PHOTOS):
        (tmp_path / f"p{at}.txt").write_text(LINE)
    with pytest.raises(DataError, match=r"no names of their classes; add data\.yaml or classes\.txt"):
        check_own_data(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [person]\nkpt_shape: [17, 3]\n")
    with pytest.raises(DataError, match="pose labels"):
        check_own_data(tmp_path)
    (tmp_path / "data.yaml").write_text("names: 5\n")
    with pytest.raises(DataError, match="has no list of names"):
        check_own_data(tmp_path)


def rows(*changes):
    """Four good rows, and one more with each change."""
    good = [{"photo": f"images/p{at}.jpg", "mask": f"masks/p{at}.png", "sentence": "the box"} for at in range(PHOTOS)]
    return good + [good[0] | change for change in changes]


def as_lines(entries):
    return "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


TABLES = {
    "backslashes": (as_lines(rows({"photo": "images\\p0.jpg", "mask": "masks\\p0.png"})), []),
    "capitals": (as_lines([{key.title(): value for key, value in row.items()} for row in rows()]), []),
    "line separators": (as_lines(rows({"sentence": "the\u2028box\u0085there"})), []),
    "a byte order mark": ("\ufeff" + as_lines(rows()), []),
    "NaN of pandas": (as_lines(rows({"mask": float("nan"), "kind": float("nan")})), []),
    "a missing photo": (as_lines(rows({"photo": "images/x.jpg"})), [r"line 5 images/x\.jpg is missing"]),
    "a missing mask": (as_lines(rows({"mask": "masks/x.png"})), [r"line 5 masks/x\.png is missing"]),
    "no sentence": (as_lines(rows({"sentence": " "})), ["line 5 sentence: expected text, got"]),
    "a mask that is a number": (as_lines(rows({"mask": 3})), ["line 5 mask: expected text, got 3"]),
    "no JSON": (as_lines(rows()) + "\n{", ["line 5 expected a JSON object, got '{'"]),
    "a list": (as_lines(rows()) + "\n[1]", ["line 5 expected a JSON object"]),
}  # fmt: skip


@pytest.mark.parametrize("text, reasons", TABLES.values(), ids=TABLES)
def test_json_lines_as_people_have_them(text, reasons, tmp_path):
    assert_left_out(own_files.write_table(tmp_path, text), PHOTOS, reasons)


def test_a_sentence_keeps_its_separators(tmp_path):
    text = as_lines(rows({"sentence": "the\u2028box\u0085there"}))
    assert MaskFolder(own_files.write_table(tmp_path, text))[0].expressions[1].text == "the\u2028box\u0085there"


def csv(separator=",", header="photo,mask,sentence", more=(), end="\n"):
    lines = [header, *(f"images/p{at}.jpg,masks/p{at}.png,the box" for at in range(PHOTOS)), *more]
    return end.join(line.replace(",", separator) for line in lines) + end


CSV = {
    "semicolons": (csv(";"), []),
    "tabs": (csv("\t"), []),
    "semicolons with Excel's hint": ("sep=;\n" + csv(";", end="\r\n"), []),
    "capitals and spaces": (csv(header=" Photo , MASK,Sentence"), []),
    "spaces": (csv(", "), []),
    "empty columns": (csv(header="photo,mask,sentence,,").replace("box\n", "box,,\n"), []),
    "empty cells at the end": (csv(more=["images/p0.jpg,masks/p0.png,the ball,,"]), []),
    "empty lines": (csv(more=["", ",,", " , , "]), []),
    "quotes": (csv(more=['images/p0.jpg,,"a cup, green"']), []),
    "too few": (csv(more=["images/p0.jpg,the box"]), ["line 6 expected 3 columns as in the header, got 2"]),
    "a comma without quotes": (csv(more=["images/p0.jpg,,a cup, green"]), ["3 columns .*, got 4; write commas"]),
}  # fmt: skip


@pytest.mark.parametrize("text, reasons", CSV.values(), ids=CSV)
def test_csv_as_people_have_it(text, reasons, tmp_path):
    assert_left_out(own_files.write_table(tmp_path, text, "annotations.csv"), PHOTOS, reasons)


@pytest.mark.parametrize(
    "text, encoding, message",
    [
        (csv(header="image,mask,text"), "utf-8", "expected the columns photo, mask, sentence, got image, mask, text"),
        (csv(":"), "utf-8", "separated by ','"),
        (csv(), "utf-16", "cannot be read as UTF-8 text .*; save it with the encoding UTF-8"),
        ("", "utf-8", "expected the columns"),
        ("photo,mask,sentence\n", "utf-8", "has no usable sentence"),
        (csv().replace(".png", "").replace("masks/p", ""), "utf-8", "no usable sentence"),
    ],
)
def test_tables_that_are_refused(text, encoding, message, tmp_path):
    with pytest.raises(DataError, match=message):
        check_own_data(own_files.write_table(tmp_path, text, "annotations.csv", encoding))


def test_triples_as_people_have_them(tmp_path):
    own_files.write_triples(tmp_path)
    (tmp_path / "p1.png").rename(tmp_path / "p1.PNG")
    (tmp_path / "p2.txt").write_text("the box\n0 0.1 0.2 0.3 0.4\n")
    (tmp_path / "p3.txt").write_bytes("die Küche".encode("latin-1"))
    (tmp_path / "only.txt").write_text("a mask without a photo")
    shutil.copy(tmp_path / "p0.png", tmp_path / "only.png")
    photos, problems = left_out(tmp_path)
    assert photos == 3 and MaskFolder(tmp_path)[1].expressions[0].mask is not None, "a suffix in capitals is a mask"
    assert [problem.split(": ")[0] for problem in problems] == ["photo", "line", "file"]
    for mask in tmp_path.glob("*.[pP]*"):
        mask.unlink()
    with pytest.raises(DataError, match="none of its sentences has a mask"):
        check_own_data(tmp_path)


def check(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_the_command(tmp_path):
    good = own_files.write_yolo(tmp_path / "good")
    done = check(good)
    assert done.exit_code == 0 and "a YOLO-segmentation folder, 4 readable photos" in done.stdout, done.output
    assert "4 box" in done.stdout and "left out in total: nothing" in done.stdout
    bad = own_files.write_labelme(tmp_path / "bad", last=_added(shape_type="point")())
    (bad / "notes.json").write_text("[]")
    done = check(bad)
    assert done.exit_code == 1 and "left out: " in done.stdout and "p3.json: shape 2" in done.stdout
    assert "passed over: " in done.stdout and "left out in total: 1 shape" in done.stdout
    done = check(bad, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1 and report["form"] == "labelme" and report["photos"] == 4
    assert [entry["entry"] for entry in report["left_out"] if entry["is_fault"]] == ["shape"]
    for arguments, message in (
        ([tmp_path / "nowhere"], "does not exist"),
        (["refcoco"], "expected the folder that contains refcoco"),
        ([good, "--split", "train"], "no --split"),
    ):
        done = check(*arguments)
        assert done.exit_code == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1
