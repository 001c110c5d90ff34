"""Freed memory stays with the process where the C library can be told so."""

import ctypes
import subprocess
import sys

import pytest

from instructseg.inference import allocator

COUNT = """
import resource, sys
from instructseg.inference.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
for turn in range(20):
    block = bytearray(48 * 2**20)
    if turn == 9:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, kept)
"""


def faults(how):
    told = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout.split()
    return int(told[0]), told[1]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_pages_are_not_taken_anew():
    (before, _), (after, kept) = faults("leave"), faults("keep")
    assert kept == "True" and after < before / 10, (before, after)


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
