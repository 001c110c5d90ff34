import io
import os
import pickle

import numpy as np
import pytest

from instructseg.media.pickles import ArraysOnly, PlainUnpickler, read_pickle

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
