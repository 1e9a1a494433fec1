# make repro   run what has changed of the pipeline, from archive to report
# make test    run the tests
# make compare BASE=main   is the workspace better than BASE? writes comparison.md
# make gate BASE=main      the same, and fails on a significant loss
# make predict SCENE=scene.tif   map the land cover of a scene; OUT=folder, ARGS='--step 12' and more: see tools/predict.py
# make lint    check style
# make experiment NAME=strong   run an experiment of experiments.yaml;  make experiments: all, and their table
# make bench   time the pipeline beside the notebook, and its growth: a quarter of an hour, results in benchmarks/README.md
# make simulate   are the verdicts of a comparison right? on simulated models: some minutes, results in docs/comparison.md
# make torture inject faults for a while: results in torture/README.md
# Each makes .venv first, of Python 3.11, if it is not there, does not run here, or the requirements changed.

# Not /bin/sh: make 3.81, which macOS has, then looks up simple commands in its own PATH, not in the one exported here.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
# DVC runs each stage with the `python` that it finds first.
PIP := python -m pip install --quiet --disable-pip-version-check
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro test lint format requirements compare gate experiment experiments predict bench simulate torture

repro: $(VENV)/installed
	dvc repro

compare: $(VENV)/installed
	python -m tools compare $(if $(BASE),--base $(BASE)) $(if $(HEAD),--head $(HEAD)) $(ARGS)

# A test split that changed (exit code 4) is told on the page, but cannot be a regression.
gate: $(VENV)/installed
	python -m tools compare $(if $(BASE),--base $(BASE)) --fail-on-regression || [ $$? -eq 4 ]

experiment: $(VENV)/installed
	python -m tools experiment run $(NAME)

experiments: $(VENV)/installed
	python -m tools experiment run
	python -m tools experiment table

predict: $(VENV)/installed
	python -m tools predict $(SCENE) $(if $(OUT),--out $(OUT)) $(ARGS)

bench: $(VENV)/installed
	python -m benchmarks --write
	python -m benchmarks.growth --write

simulate: $(VENV)/installed
	python -m benchmarks.verdicts --write

torture: $(VENV)/installed-test
	python -m torture --write

test: $(VENV)/installed-test
	python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-test
	ruff check .
	ruff format --check .

format: $(VENV)/installed-test
	ruff check --fix .
	ruff format .

# Scripts in .venv/bin name its path in their first line, so they do not run once the folder has moved.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
STALE := $(shell [ ! -e $(VENV) ] || { $(VENV)/bin/python -c '$(FITS)' && { [ ! -e $(VENV)/bin/dvc ] || \
	grep -q '$(realpath $(VENV))/bin/python' $(VENV)/bin/dvc; }; } 2> /dev/null || echo stale)
ifeq ($(STALE),stale)
$(VENV)/installed: remove
.PHONY: remove
remove:
	rm -rf $(VENV)
endif

# All but torch and its CUDA libraries are checked against their hashes: torch comes as another build on each platform.
$(VENV)/installed: requirements.txt requirements-hashes.txt
	@$(PYTHON) -c '$(FITS)' || { echo 'error: $(PYTHON) is not Python 3.11 to 3.13: add PYTHON=<path>' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes -r requirements-hashes.txt
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	$(PIP) --require-hashes -r requirements-test.txt
	touch $@

COMPILE := uv pip compile --quiet --no-header --python-version 3.11
# Pin the newest versions that fit. Torch is published for CUDA and for the CPU; the pin admits both. The CUDA libraries,
# gigabytes that the CPU build has no use for, are left to torch, whose CUDA build asks for its own.
requirements: $(VENV)/installed
	python -m pip install --quiet uv
	$(COMPILE) --upgrade requirements.in | sed 's/^\(torch==[0-9.]*\)+.*/\1/' | \
		awk '/^[^ ]/ {keep = !/^(nvidia-|cuda-|triton=)/} keep' > requirements.txt
	grep -v '^torch==' requirements.txt | \
		$(COMPILE) --no-deps --no-annotate --generate-hashes - --output-file requirements-hashes.txt
	for extra in dask test; do \
		$(COMPILE) --upgrade --generate-hashes requirements-$$extra.in --output-file requirements-$$extra.txt; \
	done
