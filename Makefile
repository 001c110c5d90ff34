# `make demo` shows the program at work on a photo, `make test` runs the checks, `make test-long` the longest tests.
# `make package` builds and checks what is published, `make docs` builds the documentation site into site/,
# `make pictures` draws its pictures and runs the notebook with the weights in weights/nano. All set up .venv on the first call and whenever pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
PHOTO ?= examples/camera.jpg
TEXT ?= the man

# PyTorch's own index has the builds without CUDA. Where it does not answer, pip takes torch from its usual index,
# and so it does with an empty TORCH_INDEX, which on Linux means a build for NVIDIA cards of several GB.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Tests run in one process per core, at most 8, each with one thread of torch; TEST_PROCESSES=0 runs them in one.
TEST_PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))

# An idle OpenMP thread sleeps soon instead of taking a core from the other processes (src/instructseg/threads.py).
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 3000
endif

# pip compiles nothing; a module is compiled when it is first imported, and kept. With this variable, as some containers
# set it, each start of the program would compile PyTorch's sources anew.
export PYTHONDONTWRITEBYTECODE :=

PIP_INSTALL := .venv/bin/pip install --disable-pip-version-check --no-compile --constraint constraints.txt

.PHONY: demo test test-long package docs pictures clean

# The last line says where the overlay is. Another photo: make demo PHOTO=my.jpg TEXT="the dog on the left"
demo: .venv/installed
	.venv/bin/instructseg segment "$(PHOTO)" "$(TEXT)" -o demo-output

test: .venv/installed-dev
	.venv/bin/ruff check
	@echo ".venv/bin/pyright (at the same time as) .venv/bin/pytest -n $(TEST_PROCESSES) -m 'not long'"
	@.venv/bin/pyright > .venv/pyright.log 2>&1 & checker=$$!; \
	.venv/bin/pytest -n $(TEST_PROCESSES) --dist worksteal -m "not long"; tests=$$?; \
	wait $$checker; types=$$?; cat .venv/pyright.log; exit $$((tests | types))

# Tests that take a minute or more each: FSDP2, the full-size conversion, several processes that append to one file.
test-long: .venv/installed-dev
	.venv/bin/pytest -m long

# The wheel is built from the sdist, installed into an empty environment, and tried outside the checkout.
# INSTRUCTSEG_REPOSITORY=https://github.com/OWNER/NAME makes the links of the index's description (hatch_build.py).
package: .venv/installed-dev
	$(PIP_INSTALL) --editable '.[release]'
	rm -rf dist .venv-wheel
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*
	$(PYTHON) -m venv .venv-wheel
	$(subst .venv/,.venv-wheel/,$(PIP_INSTALL)) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$$(echo dist/*.whl)[serve]"
	.venv-wheel/bin/python tools/try_wheel.py
	.venv/bin/python tools/check_distribution.py dist

# Warnings are errors. While writing: .venv/bin/mkdocs serve
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

# After the weights have changed; look at each picture.
pictures: .venv/installed-docs
	.venv/bin/python -m tools.example_pictures
	.venv/bin/python -m tools.clip_strip
	.venv/bin/python -m tools.site_pictures
	.venv/bin/python -m tools.run_notebook examples/quickstart.ipynb

clean:
	rm -rf .venv .venv-wheel dist demo-output site

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --no-deps --retries 1 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP_INSTALL) --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@

.venv/installed-docs: .venv/installed
	$(PIP_INSTALL) --editable '.[docs]'
	touch $@
