# make demo: everything once, on faces we draw. make test: every test but the slow ones. Both do their own set-up.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint clean

demo: $(VENV)/ready
	$(BIN)/python -m affectnet_plus_modeling.demo demo

test: $(VENV)/ready
	$(BIN)/python -m pytest

slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/ready
	$(BIN)/python -m flake8
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) demo build *.egg-info

# torch goes first, so that a CPU wheel that is at hand serves; TORCH="torch --index-url ..." chooses another.
$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@
