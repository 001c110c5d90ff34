"""A pickled Segmenter, session or model gives the same answer in a process that has loaded no model."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.inference.segmenter import Segmenter

TEXT = "the dog"
# Each program starts as a worker does (spawn, joblib, Ray): with an empty interpreter and a file.
PROGRAMS = {
    "segmenter": "import pickle; answer = pickle.load(open(path, 'rb')).segment(photo, text)",
    "session": "import pickle; answer = pickle.load(open(path, 'rb')).segment(text)",
    "torch": (
        "import torch; from instructseg import Segmenter\n"
        "answer = Segmenter(*torch.load(path, weights_only=False)).segment(photo, text)"
    ),
}


@pytest.fixture(scope="module", params=[{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def segmenter(request):
    return Segmenter(*tiny_model.build(**request.param))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_answer_is_the_same_in_another_process(kind, segmenter, tmp_path):
    photo = tiny_model.photo(45, 70)
    np.save(tmp_path / "photo.npy", photo)
    path = tmp_path / "saved"
    if kind == "torch":
        torch.save((segmenter.model, segmenter.processor), path)
    else:
        path.write_bytes(pickle.dumps(segmenter if kind == "segmenter" else segmenter.open(photo)))
    program = (
        f"path, text = 'saved', {TEXT!r}\nimport numpy; photo = numpy.load('photo.npy')\n{PROGRAMS[kind]}\n"
        "numpy.savez('answer.npz', masks=answer.masks, scores=answer.scores)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected, answer = segmenter.segment(photo, TEXT), np.load(tmp_path / "answer.npz")
    np.testing.assert_allclose(answer["scores"], expected.scores, atol=1e-5)
    assert (answer["masks"] == expected.masks).all()
