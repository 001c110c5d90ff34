from dataclasses import dataclass

import torch

from instructseg.inference.video.byte_cache import ByteCache, tensor_bytes


@dataclass
class Pair:
    first: torch.Tensor
    others: tuple
    name: str = "x"


def test_sizes():
    assert tensor_bytes(torch.zeros(3, 4)) == 48
    assert tensor_bytes(Pair(torch.zeros(2), (torch.zeros(3, dtype=torch.uint8), [None, torch.zeros(1)]))) == 15


def test_least_recently_used_goes_first():
    cache, made = ByteCache(100), []

    def get(key, size=40):
        return cache.get(key, lambda: made.append(key) or torch.zeros(size, dtype=torch.uint8))

    get("a"), get("b"), get("a"), get("c")
    assert made == ["a", "b", "c"] and cache.used == 80
    get("a"), get("b")
    assert made == ["a", "b", "c", "b"]
    get("large", 101)
    assert cache.used == 80 and len(get("large", 101)) == 101 and cache.misses == 6


def test_dropping_and_a_budget_of_nothing():
    cache = ByteCache(100)
    cache.get(("x", 1), lambda: torch.zeros(5))
    cache.get(("x", 2), lambda: torch.zeros(5))
    cache.evict(lambda key: key[1] < 2)
    assert cache.used == 20
    empty = ByteCache(0)
    empty.get("a", lambda: torch.zeros(1)), empty.get("a", lambda: torch.zeros(1))
    assert empty.misses == 2 and empty.used == 0
