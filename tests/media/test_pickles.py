import io
import os
import pickle

import numpy as np
import pytest

from instructseg.media.pickles import ArraysOnly, PlainUnpickler, _Dtype, _new_array, read_pickle

PLAIN = [{"split": "val", "ids": [1, 2], "box": (0.5, None, True), "raw": "café"}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol, tmp_path):
    (tmp_path / "a.p").write_bytes(pickle.dumps(PLAIN, protocol))
    assert read_pickle(tmp_path / "a.p") == PLAIN


def test_byte_strings_of_python_2_are_decoded(tmp_path):
    (tmp_path / "a.p").write_bytes(b"(lp0\nS'caf\\xc3\\xa9'\np1\na.")  # pickle.dumps(["caf\xc3\xa9"]) of Python 2
    assert read_pickle(tmp_path / "a.p", encoding="utf-8") == ["café"]
    with pytest.raises(pickle.UnpicklingError, match="damaged"):
        read_pickle(tmp_path / "a.p")


class Trap:
    def __init__(self, *made):
        self.made = made

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("unpickler", [PlainUnpickler, ArraysOnly])
@pytest.mark.parametrize("call", [os.system, eval, print, getattr])
def test_nothing_in_a_pickle_runs(unpickler, call, tmp_path):
    victim = tmp_path / "victim"
    command = f"touch {victim}" if call is os.system else f"open({str(victim)!r}, 'w')"
    (tmp_path / "a.p").write_bytes(pickle.dumps([{"split": "val"}, Trap(call, (command,))]))
    with pytest.raises(pickle.UnpicklingError, match="contains"):
        read_pickle(tmp_path / "a.p", unpickler)
    assert not victim.exists()


def test_arrays_need_their_own_unpickler(tmp_path):
    (tmp_path / "a.p").write_bytes(pickle.dumps(np.arange(3)))
    assert (read_pickle(tmp_path / "a.p", ArraysOnly) == np.arange(3)).all()
    with pytest.raises(pickle.UnpicklingError, match="only plain values"):
        read_pickle(tmp_path / "a.p")


@pytest.mark.parametrize(
    "module, name",
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("numpy", "load"),
        ("torch", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("instructseg", "Segmenter"),
    ],
)
def test_the_unpickler_knows_arrays_alone(module, name):
    with pytest.raises(pickle.UnpicklingError, match=f"contains {module}.{name}"):
        ArraysOnly(io.BytesIO()).find_class(module, name)


@pytest.mark.parametrize("damage", [b"", b"\x80", b"\x80\x04K", b"hello", b"]", b"t.", b"\x8c\xff.", b"jxxxx.", b"s."])
def test_damaged_pickles(damage, tmp_path):
    (tmp_path / "a.p").write_bytes(damage)
    with pytest.raises(pickle.UnpicklingError):
        read_pickle(tmp_path / "a.p")


BOMBS = {
    "four bytes": b"\x80\x02]r\xff\xff\xff\x0f.",
    "after other objects": b"\x80\x02" + b"N0" * 50 + b"]r\xff\xff\xff\x0f.",
    "after text that looks like opcodes": b"\x80\x02X\x05\x00\x00\x00r\x00\x00\x00\x000]r\xff\xff\xff\x0f.",
    "decimal": b"]p1073741823\n.",
    "decimal with a sign": b"]p+1073741823\n.",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_few_bytes_do_not_take_gigabytes(content, tmp_path):
    """The unpickler allocates 16 bytes for each index of the memo up to the largest."""
    (tmp_path / "a.p").write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match="index that is out of range"):
        read_pickle(tmp_path / "a.p")


ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.arange(4, dtype=">i2"),
    np.array([True, False]),
    np.array(["ab", "c"]),
    np.array(2.5, np.float16),
    np.zeros((0, 3), np.int8),
    np.float32(1.5),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_of_every_protocol(array, protocol, tmp_path):
    (tmp_path / "a.p").write_bytes(pickle.dumps({"a": array}, protocol))
    read = read_pickle(tmp_path / "a.p", ArraysOnly)["a"]
    assert read.shape == array.shape and (read == array).all()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_mutated_arrays_do_not_crash(protocol, tmp_path):
    """NumPy checks neither the state of a type nor the length of an array's values: both crash the process."""
    good = pickle.dumps({"model": {"weight": np.arange(12.0), "bias": np.array([1, 2])}}, protocol)
    random, refused = np.random.default_rng(protocol), 0
    for _ in range(100):
        content = bytearray(good)
        for place in random.integers(0, len(good), random.integers(1, 4)):
            content[place] = random.integers(0, 256)
        (tmp_path / "a.p").write_bytes(content)
        try:
            read_pickle(tmp_path / "a.p", ArraysOnly)
        except pickle.UnpicklingError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    "state",
    [
        (1, (10**9,), "f8", False, b"1234567"), (1, (-1,), "f8", False, b""), (1, (3,), "O8", False, [1]),
        (1, (1,), "f8", False, [1.0]), (1, (2**62, 4), "f8", False, b""), (1, ("a",), "f8", False, b"a"),
    ],
    ids=str,
)  # fmt: skip
def test_states_of_arrays_are_checked(state):
    version, shape, code, order, values = state
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        _new_array().__setstate__((version, shape, _Dtype(code), order, values))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_many_objects_of_the_memo(protocol, tmp_path):
    """More than 256, so that long indices are used, and texts of the opcodes' letters."""
    shared = [f"rp{number}" for number in range(400)]
    content = {"shared": shared, "again": shared[::-1], "numbers": [2**70, -1, 0.5, True, None, b"rrrr", "\n\n"]}
    (tmp_path / "a.p").write_bytes(pickle.dumps(content, protocol))
    expected = pickle.loads(pickle.dumps(content, protocol))
    assert read_pickle(tmp_path / "a.p", ArraysOnly if protocol < 3 else PlainUnpickler) == expected == content
