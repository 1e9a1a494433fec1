# make repro   run what has changed of the pipeline, from archive to report
# make test    run the tests
# make compare BASE=main   is the workspace better than BASE? writes comparison.md
# make gate BASE=main      the same, and fails on a significant loss
# make lint    check style
# make experiment NAME=strong   run an experiment of experiments.yaml;  make experiments: all, and their table
# Each makes .venv first, of Python 3.11, if it is not there or the requirements changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
# DVC runs each stage with the `python` that it finds first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro test lint format requirements compare gate experiment experiments

repro: $(VENV)/installed
	dvc repro

compare: $(VENV)/installed
	python -m stages.compare $(if $(BASE),--base $(BASE)) $(if $(HEAD),--head $(HEAD)) $(ARGS)

# A test split that changed (exit code 4) is told on the page, but cannot be a regression.
gate: $(VENV)/installed
	python -m stages.compare $(if $(BASE),--base $(BASE)) --fail-on-regression || [ $$? -eq 4 ]

experiment: $(VENV)/installed
	python -m stages.experiment run $(NAME)

experiments: $(VENV)/installed
	python -m stages.experiment run
	python -m stages.experiment table

test: $(VENV)/installed-test
	python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-test
	ruff check .
	ruff format --check .

format: $(VENV)/installed-test
	ruff check --fix .
	ruff format .

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@

# Pin the newest versions that fit. Torch is published with and without its CUDA tag; the pin admits both.
requirements: $(VENV)/installed
	python -m pip install --quiet uv
	uv pip compile --quiet --upgrade --no-header --python-version 3.11 requirements.in --output-file requirements.txt
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.txt
	for extra in dask test; do \
		uv pip compile --quiet --upgrade --no-header --python-version 3.11 requirements-$$extra.in \
			--output-file requirements-$$extra.txt; \
	done
