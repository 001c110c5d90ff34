"""A pickled Segmenter, session or model gives the same answer in a process that has built no model."""

import pickle
import subprocess
import sys

import numpy as np
import tiny_model
import torch

from instructseg.inference.segmenter import Segmenter

TEXT = "the dog"
# Starts as a worker does (spawn, joblib, Ray): with an empty interpreter and a file.
WORKER = """
import pickle, sys, numpy, torch
photo, answers = numpy.load("photo.npy"), {}
for name in sys.argv[1:]:
    kind = name.split(".")[1]
    if kind == "session":
        answer = pickle.load(open(name, "rb")).segment("the dog")
    elif kind == "segmenter":
        answer = pickle.load(open(name, "rb")).segment(photo, "the dog")
    else:
        from instructseg import Segmenter
        answer = Segmenter(*torch.load(name, weights_only=False)).segment(photo, "the dog")
    numpy.savez(name + ".npz", masks=answer.masks, scores=answer.scores)
"""


def test_the_answer_is_the_same_in_another_process(tmp_path):
    photo, expected = tiny_model.photo(45, 70), {}
    np.save(tmp_path / "photo.npy", photo)
    for variant, changes in {"tiny": {}, "like_nano": tiny_model.LIKE_NANO}.items():
        segmenter = Segmenter(*tiny_model.build(**changes))
        answer = segmenter.segment(photo, TEXT)
        expected |= {f"{variant}.{kind}": answer for kind in ("session", "segmenter", "model")}
        (tmp_path / f"{variant}.segmenter").write_bytes(pickle.dumps(segmenter))
        (tmp_path / f"{variant}.session").write_bytes(pickle.dumps(segmenter.open(photo)))
        torch.save((segmenter.model, segmenter.processor), tmp_path / f"{variant}.model")
    done = subprocess.run([sys.executable, "-c", WORKER, *expected], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, answer in expected.items():
        stored = np.load(tmp_path / f"{name}.npz")
        np.testing.assert_allclose(stored["scores"], answer.scores, atol=1e-5)
        assert (stored["masks"] == answer.masks).all(), name
