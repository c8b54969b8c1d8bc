# make demo | test | test-all | lint. Everything is installed into .venv on first use.
VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2 # processes that run tests side by side
RUN = NO_ALBUMENTATIONS_UPDATE=1 $(VENV)/bin/python

.PHONY: demo test test-all lint install
install: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "i2i needs Python 3.11 or later; choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: install ## trains a small pix2pix, translates a folder, leaves demo/picture.png
	$(RUN) docs/demo.py

test: install ## everything but the slow tests
	$(RUN) -m pytest -n $(JOBS)

test-all: install ## also every kill, every injected fault and the built wheel
	$(RUN) -m pytest -n $(JOBS) --all

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
