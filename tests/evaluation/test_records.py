"""Records on disk: whole lines, torn lines, parts of several processes, the sorted end."""

import json

import pytest

from instructseg.errors import DataError
from instructseg.evaluation.records import RecordFolder, encode, read_lines


def test_parts_become_one_sorted_file(tmp_path):
    folder = RecordFolder(tmp_path)
    first, second = folder.open_log(0), folder.open_log(1)
    first.append({"index": 2, "id": "ü"}, 0.5)
    second.append({"index": 0, "id": "b"}, 0.25)
    first.append({"index": 1, "id": "c"}, 1.0)
    first.close(), second.close()
    records, seconds = folder.read()
    folder.finish(records, seconds)
    assert folder.samples.read_text() == '{"index": 0, "id": "b"}\n{"index": 1, "id": "c"}\n{"index": 2, "id": "ü"}\n'
    assert [line["seconds"] for line in read_lines(folder.seconds)] == [0.25, 1.0, 0.5]
    assert not folder.parts.exists()
    assert folder.read() == (records, seconds)


def test_a_torn_line_is_read_as_not_there_and_cut_off(tmp_path):
    folder = RecordFolder(tmp_path)
    part = folder.open_log(0)
    part.append({"index": 0}, 0.0)
    part.close()
    path = folder.parts / "0000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"record": {"index": 1, "id": "ha')
    assert list(folder.read()[0]) == [0]
    part = folder.open_log(0)
    part.append({"index": 1}, 0.0)
    part.close()
    assert path.read_bytes().startswith(whole)
    assert list(folder.read()[0]) == [0, 1]


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_of_a_sample_done_twice_the_one_that_worked_counts(tmp_path, order):
    folder = RecordFolder(tmp_path)
    for rank, worked in enumerate(order):
        part = folder.open_log(rank)
        part.append({"index": 0, "id": "good"} if worked else {"index": 0, "error": "bad"}, 0.0)
        part.close()
    assert folder.read()[0][0]["id"] == "good"


@pytest.mark.parametrize("line", ["{", "[1]", "{} {}", "\xff"])
def test_a_damaged_line_in_the_finished_file_is_named(tmp_path, line):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"index": 0}\n' + line.encode("latin1") + b"\n")
    with pytest.raises(DataError, match="line 2"):
        read_lines(path)


def test_numbers_that_json_does_not_have_are_refused():
    with pytest.raises(ValueError):
        encode({"iou": float("nan")})
    assert json.loads(encode({"iou": 0.1})) == {"iou": 0.1}
