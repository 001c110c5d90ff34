"""Readers of conversations and questions: genuine files where there are some, files in the same layout elsewhere."""

import base64
import csv
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from instructseg.data.catalogue.questions import ENTRIES
from instructseg.data.readers.conversations import Conversations
from instructseg.data.readers.gqa import Gqa
from instructseg.data.readers.mmbench import MmBench
from instructseg.data.readers.pope import Pope
from instructseg.data.readers.questions import CHOICE_LETTER, SHORT_ANSWER
from instructseg.data.readers.science_qa import ScienceQa
from instructseg.data.readers.vqav2 import VqaV2
from instructseg.errors import DataError
from instructseg.types import Task

CATALOGUE = {entry.name: entry for entry in ENTRIES}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_photo(path, value, size=(6, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# ---- genuine files


@pytest.mark.parametrize(
    ("name", "split"),
    [("pope", "coco"), ("pope", "random"), ("gqa", "testdev_balanced"), ("science_qa", "test")],
)
def test_genuine_counts(shared_data, name, split):
    entry, root = CATALOGUE[name], shared_data / "data" / "llava_eval"
    reader = entry.open(root, split)
    samples = [reader[index] for index in range(len(reader))]
    expressions = [(sample.id, expression.id) for sample in samples for expression in sample.expressions]
    assert {"samples": len(samples), "expressions": len(expressions)} == entry.counts[split]
    assert len(set(expressions)) == len(expressions) and len({sample.id for sample in samples}) == len(samples)
    assert {sample.task for sample in samples} == {Task.CHAT}


def test_genuine_prompts_are_llavas(shared_data):
    """The answer files of LLaVA-1.5 hold the very prompts."""
    folder = shared_data / "data" / "llava_eval"
    answers = (folder / "pope" / "answers" / "llava-v1.5-13b.jsonl").read_text().splitlines()
    told = {record["question_id"]: record["prompt"] for record in map(json.loads, answers)}
    offsets = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}
    pope = CATALOGUE["pope"].open(folder, "coco")
    for sample in pope:
        for expression in sample.expressions:
            category, number = expression.id.split("/")
            assert told[offsets[category] + int(number)] == expression.text
            assert expression.details == {"category": category}
    answers = (folder / "gqa" / "answers" / "llava_gqa_testdev_balanced" / "llava-v1.5-13b.jsonl").read_text()
    told = {record["question_id"]: record["prompt"] for record in map(json.loads, answers.splitlines())}
    gqa = CATALOGUE["gqa"].open(folder, "testdev_balanced")
    assert all(told[each.id] == each.text and each.answer is None for sample in gqa for each in sample.expressions)


def test_genuine_science_qa(shared_data, tmp_path):
    """LLaVA's prompts, and the same prompts from problems in ScienceQA's own form."""
    folder = shared_data / "data" / "llava_eval" / "scienceqa"
    records = json.loads((folder / "llava_test_CQM-A.json").read_text())
    reader = CATALOGUE["science_qa"].open(folder.parent, "test")
    assert len(CATALOGUE["science_qa"].open(folder.parent, "test", images_only=True)) == 2017
    problems = {}
    for record, sample in zip(records, reader, strict=True):
        (expression,) = sample.expressions
        asked, answer = (turn["value"] for turn in record["conversations"])
        assert expression.text == asked.removeprefix("<image>\n") + "\n" + CHOICE_LETTER
        assert (expression.id, expression.answer) == (record["id"], answer)
        assert len(sample.frames) == expression.details["image"] == ("image" in record)
        hint, _, question = expression.text.partition("\nA. ")[0].removeprefix("Context: ").rpartition("\n")
        has_hint = expression.text.startswith("Context: ")
        problems[record["id"]] = {
            "question": question if has_hint else f"{hint}\n{question}".lstrip("\n"),
            "hint": hint if has_hint else "",
            "choices": expression.details["choices"],
            "answer": "ABCDE".index(answer),
            "image": "image.png" if "image" in record else None,
            "subject": "natural science",
            "grade": "grade8",
            "split": "test",
        }
    ours = ScienceQa(write_json(tmp_path / "problems.json", problems), tmp_path, "test", folder / "pid_splits.json")
    assert [sample.expressions[0].text for sample in ours] == [sample.expressions[0].text for sample in reader]
    assert ours[0].expressions[0].details.items() >= {"subject": "natural science", "grade": "grade8"}.items()


def test_genuine_conversation(shared_data):
    path = shared_data / "data" / "llava_eval" / "llava_data" / "llava_instruct_150k_first_record.json"
    (sample,) = Conversations(path)
    assert sample.id == "conversation/000000033471" and len(sample.frames) == 1
    texts = [(expression.text, expression.answer) for expression in sample.expressions]
    assert texts[0] == ("What are the colors of the bus in the image?", "The bus in the image is white and red.")
    assert [expression.details for expression in sample.expressions] == [{"turn": at, "turns": 3} for at in range(3)]
    with pytest.raises(DataError, match=r"000000033471\.jpg is missing"):
        _ = sample.image


# ---- VQAv2


def write_vqa(folder, subtype="val2014"):
    answers = [{"answer": text, "answer_id": at} for at, text in enumerate(["net"] * 7 + ["a net", "nets", "fence"])]
    questions = [
        {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
        {"image_id": 393225, "question": "What is this?", "question_id": 393225000},
        {"image_id": 262148, "question": "Is he up?", "question_id": 262148001},
    ]
    annotations = [
        {
            "question_id": question["question_id"],
            "image_id": question["image_id"],
            "question_type": "what is",
            "answer_type": "other",
            "multiple_choice_answer": "net",
            "answers": answers,
        }
        for question in questions
    ]
    write_photo(folder / "coco" / "val2014" / "COCO_val2014_000000262148.jpg", 200)
    question_file = folder / "vqav2" / "v2_OpenEnded_mscoco_val2014_questions.json"
    write_json(question_file, {"data_subtype": subtype, "questions": questions})
    write_json(folder / "vqav2" / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    return question_file


def test_vqav2_by_photo(tmp_path):
    write_vqa(tmp_path)
    reader = CATALOGUE["vqav2"].open(tmp_path, "val")
    first, second = reader
    assert (first.id, second.id) == ("vqav2/262148", "vqav2/393225")
    assert [expression.id for expression in first.expressions] == ["262148000", "262148001"]
    expression = first.expressions[0]
    assert expression.text == f"Where is he looking?\n{SHORT_ANSWER}" and expression.answer == "net"
    assert expression.details["answers"] == ["net"] * 7 + ["a net", "nets", "fence"]
    assert first.image.shape == (6, 9, 3) and abs(int(first.image.mean()) - 200) < 3
    with pytest.raises(DataError, match=r"COCO_val2014_000000393225\.jpg is missing"):
        _ = second.frames[0]


def test_vqav2_test_split_keeps_its_answers_back(tmp_path):
    path = write_vqa(tmp_path, "test-dev2015")
    sample = VqaV2(path, tmp_path)[0]
    assert {(expression.answer, str(expression.details)) for expression in sample.expressions} == {(None, "{}")}
    with pytest.raises(DataError, match="COCO_test2015_000000262148"):
        _ = sample.image


def test_a_lazy_photo_is_a_sequence_that_travels(tmp_path):
    write_vqa(tmp_path)
    frames = pickle.loads(pickle.dumps(CATALOGUE["vqav2"].open(tmp_path, "val")[0].frames))
    assert len(frames) == 1 and len(frames[:]) == 1 and frames[5:] == [] and frames[-1].dtype == np.uint8
    with pytest.raises(IndexError):
        _ = frames[1]


# ---- GQA


def gqa_record(image="2405722", **changes):
    return {
        "question": "What is tall?",
        "imageId": image,
        "answer": "tower",
        "isBalanced": True,
        "entailed": ["02"],
        "types": {"structural": "query", "semantic": "attr", "detailed": "directOf"},
    } | changes


def test_gqa_official_form(tmp_path):
    content = {"01": gqa_record(), "03": gqa_record(image="n7"), "02": gqa_record(answer="yes", isBalanced=False)}
    path = write_json(tmp_path / "testdev_balanced_questions.json", content)
    choices = {identity: {"valid": ["tower", "man"], "plausible": ["tower"]} for identity in content}
    reader = Gqa(path, tmp_path, write_json(tmp_path / "choices.json", choices))
    assert [sample.id for sample in reader] == ["gqa/2405722", "gqa/n7"]
    first, second = reader[0].expressions
    assert (first.id, first.text, first.answer) == ("01", f"What is tall?\n{SHORT_ANSWER}", "tower")
    assert first.details == {
        "id": "01", "structural": "query", "semantic": "attr", "detailed": "directOf", "balanced": True,
        "entailed": ["02"], "valid": ["tower", "man"], "plausible": ["tower"],
    }  # fmt: skip
    assert second.details["balanced"] is False
    with pytest.raises(DataError, match=r"2405722\.jpg is missing"):
        _ = reader[0].image


def test_gqa_folder_of_parts(tmp_path):
    for part in range(2):
        write_json(tmp_path / "all" / f"train_all_questions_{part}.json", {f"0{part}": gqa_record()})
    assert [expression.id for expression in Gqa(tmp_path / "all", tmp_path)[0].expressions] == ["00", "01"]


# ---- ScienceQA


def problem(**changes):
    return {
        "question": "Which is a fruit?",
        "choices": ["rock", "pear"],
        "answer": 1,
        "hint": "",
        "image": None,
        "split": "test",
        "subject": "natural science",
        "grade": "grade2",
    } | changes


def test_science_qa_problems(tmp_path):
    problems = {"1": problem(), "2": problem(image="image.png", hint="Look."), "3": problem(split="train")}
    path = write_json(tmp_path / "problems.json", problems)
    write_photo(tmp_path / "test" / "2" / "image.png", 9)
    plain, pictured = ScienceQa(path, tmp_path, "test")
    assert plain.frames == () and plain.expressions[0].answer == "B"
    assert plain.expressions[0].text == f"Which is a fruit?\nA. rock\nB. pear\n{CHOICE_LETTER}"
    assert pictured.expressions[0].text.startswith("Context: Look.\nWhich") and (pictured.image == 9).all()
    pids = write_json(tmp_path / "pid_splits.json", {"mini": ["3", "2"], "lost": ["4"]})
    assert [sample.id for sample in ScienceQa(path, tmp_path, "mini", pids)] == ["scienceqa/3", "scienceqa/2"]
    with pytest.raises(DataError, match="no split 'val'; choose from mini, lost"):
        ScienceQa(path, tmp_path, "val", pids)
    with pytest.raises(DataError, match=r"lacks 1 problems .* first 4"):
        ScienceQa(path, tmp_path, "lost", pids)


# ---- MMBench

COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source", "l2-category"]


def picture(value=7):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def mmbench_row(index=5, **changes):
    row = dict.fromkeys(COLUMNS, "") | {"index": index, "question": "Which?", "A": "one", "B": "None", "C": "three"}
    return row | {"answer": "A", "category": "ocr", "l2-category": "finegrained", "image": picture()} | changes


def write_tsv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_mmbench_passes_of_the_file(tmp_path):
    shifted = {"A": "None", "B": "three", "C": "one", "answer": "C"}
    rows = [mmbench_row(), mmbench_row(8, hint='Two\tlines "of"\nhint'), mmbench_row(1_000_005, **shifted)]
    reader = MmBench(write_tsv(tmp_path / "dev.tsv", rows))
    assert [(sample.id, len(sample.expressions)) for sample in reader] == [("mmbench/5", 2), ("mmbench/8", 1)]
    first, second = reader[0].expressions
    assert first.text == f"Which?\nA. one\nB. None\nC. three\n{CHOICE_LETTER}"
    assert second.text == f"Which?\nA. None\nB. three\nC. one\n{CHOICE_LETTER}"
    assert (first.id, first.answer, second.id, second.answer) == ("5", "A", "1000005", "C")
    assert second.details == {
        "choices": ["None", "three", "one"], "category": "ocr", "l2_category": "finegrained",
        "question": 5, "pass": 1, "passes": 2,
    }  # fmt: skip
    assert reader[1].expressions[0].text.startswith('Two\tlines "of"\nhint\nWhich?\nA. one')
    assert reader[0].image.shape == (4, 5, 3) and (reader[0].image == 7).all()


def test_mmbench_makes_the_passes_of_a_file_without(tmp_path):
    reader = MmBench(write_tsv(tmp_path / "dev.tsv", [mmbench_row(), mmbench_row(6, C="", answer="B")]))
    seen = [[(each.id, each.details["choices"], each.answer) for each in sample.expressions] for sample in reader]
    assert seen == [
        [
            ("5", ["one", "None", "three"], "A"),
            ("1000005", ["None", "three", "one"], "C"),
            ("2000005", ["three", "one", "None"], "B"),
        ],
        [("6", ["one", "None"], "B"), ("1000006", ["None", "one"], "A")],
    ]
    for sample in reader:
        right = {each.details["choices"]["ABC".index(each.answer)] for each in sample.expressions}
        assert len(right) == 1 and {each.details["passes"] for each in sample.expressions} == {len(sample.expressions)}


def test_mmbench_test_split_has_no_answers(tmp_path):
    sample = MmBench(write_tsv(tmp_path / "test.tsv", [mmbench_row(answer="")]))[0]
    assert [expression.answer for expression in sample.expressions] == [None] * 3


# ---- conversations


def test_conversations(tmp_path):
    say = lambda who, value: {"from": who, "value": value}  # noqa: E731
    records = [
        {"id": "a", "image": "x/p.png", "conversations": [say("human", "<image>\nHi"), say("gpt", "Yes")]},
        {"id": "b", "conversations": [say("gpt", "Lost"), say("human", "So?"), say("gpt", "No"), say("human", "Oh")]},
        {
            "id": "c",
            "image": "q.png",
            "conversations": [say("human", "One"), say("gpt", "1"), say("human", "2\n<image>")],
        },
    ]
    write_photo(tmp_path / "second" / "x" / "p.png", 3)
    path = write_json(tmp_path / "list.json", records)
    reader = Conversations(path, tmp_path / "first", tmp_path / "second")
    turns = [[(each.text, each.answer) for each in sample.expressions] for sample in reader]
    assert turns == [[("Hi", "Yes")], [("So?", "No"), ("Oh", None)], [("One", "1"), ("2", None)]]
    assert (reader[0].image == 3).all() and reader[1].frames == ()
    with pytest.raises(DataError, match=r"first/q\.png is missing \(also tried: .*second/q\.png"):
        _ = reader[2].image


# ---- damaged files


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "got no message"),
        ([{"from": "human", "value": "a"}, {"from": "human", "value": "b"}], "record 0 .*human, human"),
        ([{"from": "human", "value": "<image> <image>"}], "at most one <image>, got 2"),
        ([{"from": "human"}], "missing key 'value'"),
        ("hello", "record 0 is invalid"),
    ],
)
def test_damaged_conversations(tmp_path, messages, message):
    reader = Conversations(write_json(tmp_path / "list.json", [{"id": 1, "conversations": messages}]))
    with pytest.raises(DataError, match=message):
        _ = reader[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "D"}, "row 1 is invalid .*one of 3 choices as answer, got 'D'"),
        ({"B": ""}, "got a picture and 1"),
        ({"image": ""}, "no picture"),
        ({"index": "five"}, "row 1 is invalid"),
    ],
)
def test_damaged_mmbench(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        MmBench(write_tsv(tmp_path / "dev.tsv", [mmbench_row(**changes)]))


@pytest.mark.parametrize("image", ["no base64!", base64.b64encode(b"no picture").decode(), picture()[:60]])
def test_damaged_mmbench_picture(tmp_path, image):
    sample = MmBench(write_tsv(tmp_path / "dev.tsv", [mmbench_row(image=image)]))[0]
    assert sample.expressions[0].answer == "A"
    with pytest.raises(DataError, match=r"dev\.tsv: the picture of question 5 cannot be decoded"):
        _ = sample.image


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": 2}, "one of 2 choices as answer, got 2"),
        ({"choices": None}, "problem 1"),
        ({"answer": "B"}, "problem 1"),
    ],
)
def test_damaged_problem(tmp_path, changes, message):
    reader = ScienceQa(write_json(tmp_path / "problems.json", {"1": problem(**changes)}), tmp_path)
    with pytest.raises(DataError, match=message):
        _ = reader[0]


def test_damaged_llava_problem(tmp_path):
    says = [{"value": "Which?\nA. one\nB. two"}, {"value": "C"}]
    path = write_json(tmp_path / "llava.json", [{"id": "9", "conversations": says}])
    with pytest.raises(DataError, match=r"problem 9 .*one of 2 choices as answer, got 'C'"):
        _ = ScienceQa(path, tmp_path)[0]


def test_damaged_vqa(tmp_path):
    path = write_vqa(tmp_path)
    annotations = write_json(tmp_path / "other.json", {"annotations": []})
    with pytest.raises(DataError, match="no answers to question 262148000"):
        _ = VqaV2(path, tmp_path, annotations)[0]
    write_json(annotations, {"annotations": [{"question_id": 1}]})
    with pytest.raises(DataError, match="annotation number 0 is invalid"):
        VqaV2(path, tmp_path, annotations)
    write_json(path, {"data_subtype": "val2014", "questions": [{"image_id": 1}]})
    with pytest.raises(DataError, match="question number 0 is invalid"):
        VqaV2(path, tmp_path)


def test_damaged_pope(tmp_path):
    record = {"question_id": 1, "image": "p.jpg", "text": "Is there a dog in the image?", "label": "yes"}
    path = write_lines(tmp_path / "coco_pope_random.json", [record, record | {"label": "maybe"}])
    with pytest.raises(DataError, match=r"line 2 .*expected the label yes or no, got 'maybe'"):
        Pope(tmp_path, tmp_path, ("random",))
    path.write_text(json.dumps(record) + '\n{"question_id": 2')
    with pytest.raises(DataError, match="line 2 is invalid"):
        Pope(tmp_path, tmp_path, ("random",))
    path.write_text("\n[]\n")
    with pytest.raises(DataError, match=r"line 2 .*not an object"):
        Pope(tmp_path, tmp_path, ("random",))
    path.write_text("")
    with pytest.raises(DataError, match="no questions of random"):
        Pope(tmp_path, tmp_path, ("random",))


def test_damaged_gqa(tmp_path):
    path = write_json(tmp_path / "questions.json", {"01": {"question": "?"}})
    with pytest.raises(DataError, match=r"question 01 .*'imageId'"):
        Gqa(path, tmp_path)
    with pytest.raises(DataError, match="not a GQA questions file: expected a dict, got a list"):
        Gqa(write_json(path, []), tmp_path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"questions\.json"):
        Gqa(path, tmp_path)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_missing_files_are_named(tmp_path, entry):
    for split in entry.splits:
        with pytest.raises(DataError, match=str(tmp_path)):
            entry.open(tmp_path, split)
