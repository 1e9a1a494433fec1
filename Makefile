# make repro   run the stages that have changed, from archive to report
# make test    run the tests;  make lint: check style;  make format: correct it
# make compare BASE=main   compare the workspace with BASE, into comparison.md;  HEAD=mine: another revision with it
# make gate BASE=main      the same, and fail on a regression; ARGS=--strict: on what is undecided, too; FOLDS=5: test both
#                          sides in folds first
# make experiment NAME=strong   run an experiment from experiments.yaml and judge it
# make experiments GROUP=network   run a group of them, and print its table
# make predict SCENE=scene.tif   map the land cover of a scene; OUT=folder, ARGS='--step 12'
# make export   write the model as ONNX, models/model.onnx, and check it
# make bench   compare the speed with the notebook's, and measure growth and maps, into benchmarks/README.md: an hour
# make simulate   test the verdicts of comparisons on simulated models, into docs/comparison.md: some minutes
# make requirements   pin the newest versions of the requirements
# Each target first creates .venv with Python 3.11 if it is missing or broken, or if the requirements changed.

# Not /bin/sh: with it, make 3.81 on macOS looks up simple commands in its own PATH, not in the one exported here.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
# Set by arguments of make, not by the environment, which may hold such names: NAME, for one, in WSL. Recipes read them
# as variables of the shell, so that spaces, brackets and ampersands stay what they are.
ARGS :=
BASE :=
FOLDS :=
GROUP := network
HEAD :=
NAME :=
OUT :=
SCENE :=
export BASE FOLDS GROUP HEAD NAME OUT SCENE
# As they are: make would take a dollar sign, as in .../$value, for a variable of its own.
$(foreach name,BASE HEAD NAME OUT SCENE,$(eval override $(name) := $$(value $(name))))
# DVC runs each stage with the first `python` in PATH.
PIP := python -m pip install --disable-pip-version-check
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Of hooks and aliases, for another repository or index than this folder's; and of Python, which keep `python -m` from
# this folder, or the tests from docstrings.
unexport $(filter-out GIT_CONFIG_%,$(shell git rev-parse --local-env-vars 2> /dev/null)) PYTHONOPTIMIZE PYTHONSAFEPATH

# In a container, a user id may have no name, which DVC asks for.
export LOGNAME ?= $(shell id -u)

.PHONY: repro test lint format requirements compare gate experiment experiments predict export bench simulate

repro: $(VENV)/installed
	@git rev-parse --git-dir > /dev/null 2>&1 || \
		{ echo 'error: DVC needs a Git repository, and a ZIP from GitHub is none: run git init, then make repro' >&2; exit 1; }
	@dvc repro || { echo 'Stopped. Fix the error above, if any, then run make repro again: finished work is kept.' >&2; exit 1; }
	@# What the report says first. Its stage prints it, too, but need not have run.
	@sed -e 1,2d -e '/^[|#]/,$$d' -e 's/\*\*//g' reports/report.md; echo 'The whole report: reports/report.md'

compare: $(VENV)/installed
	@python -m landcover compare $${BASE:+--base "$$BASE"} $${HEAD:+--head "$$HEAD"} $(ARGS)

gate: $(VENV)/installed
	@if [ -n "$$FOLDS" ]; then .ci/gate "$$BASE" "$$FOLDS" $(ARGS); else \
		python -m landcover compare $${BASE:+--base "$$BASE"} $${HEAD:+--head "$$HEAD"} --gate $(ARGS); fi

experiment: $(VENV)/installed
	@python -m landcover experiment run "$$NAME" $(ARGS)

experiments: $(VENV)/installed
	@python -m landcover experiment run "$$GROUP"
	@python -m landcover experiment table "$$GROUP"

# Not echoed: a signed address is a secret.
predict: $(VENV)/installed
	@python -m landcover predict $${SCENE:+"$$SCENE"} $${OUT:+--out "$$OUT"} $(ARGS)

export: $(VENV)/installed-onnx
	@python -m landcover export $(ARGS)

bench: $(VENV)/installed
	python -m benchmarks --write
	python -m benchmarks.growth --write
	python -m benchmarks.scene --write

simulate: $(VENV)/installed
	python -m benchmarks.verdicts --write

test: $(VENV)/installed-test
	python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-test
	ruff check .
	ruff format --check .

format: $(VENV)/installed-test
	ruff check --fix .
	ruff format .

# Scripts in .venv/bin have its path in their first line, so they stop working when the folder moves.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
STALE := $(shell [ ! -e $(VENV) ] || { $(VENV)/bin/python -c '$(FITS)' && { [ ! -e $(VENV)/bin/dvc ] || \
	grep -q '$(realpath $(VENV))/bin/python' $(VENV)/bin/dvc; }; } 2> /dev/null || echo stale)
ifeq ($(STALE),stale)
$(VENV)/installed: remove
.PHONY: remove
remove:
	rm -rf $(VENV)
endif

# All packages but torch and its CUDA libraries are checked against hashes: torch has a different build per platform.
$(VENV)/installed: requirements.txt requirements-hashes.txt
	@$(PYTHON) -c '$(FITS)' || { echo 'error: $(PYTHON) is not Python 3.11 to 3.13: add PYTHON=<path>' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes -r requirements-hashes.txt
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	$(PIP) --require-hashes -r requirements-test.txt
	touch $@

$(VENV)/installed-onnx: requirements-onnx.txt $(VENV)/installed
	$(PIP) --require-hashes -r requirements-onnx.txt
	touch $@

COMPILE := uv pip compile --quiet --no-header --python-version 3.11
# Pin the newest compatible versions. The pin of torch admits its CUDA and its CPU build. The CUDA libraries, gigabytes
# that the CPU build does not need, are not pinned: the CUDA build requires its own.
requirements: $(VENV)/installed
	python -m pip install --quiet uv
	$(COMPILE) --upgrade --constraint constraints.txt requirements.in | sed 's/^\(torch==[0-9.]*\)+.*/\1/' | \
		awk '/^[^ ]/ {keep = !/^(nvidia-|cuda-|triton=)/} keep' > requirements.txt
	grep -v '^torch==' requirements.txt | \
		$(COMPILE) --no-deps --no-annotate --generate-hashes - --output-file requirements-hashes.txt
	for extra in dask onnx remotes test; do \
		$(COMPILE) --upgrade --generate-hashes requirements-$$extra.in --output-file requirements-$$extra.txt; \
	done
