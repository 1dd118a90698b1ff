# make demo: everything once, on faces we draw. make test: every test but the slow ones; make slow: those. make script36:
# the loader as a script under datasets 3.6; make transformers4: a published model under transformers 4.57. All do their
# own set-up. make parts: the browser and the landmark models
# without which some tests are skipped.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
VENV36 ?= .venv36
BIN := $(VENV)/bin

# A process for each core, up to 8, and in each of them one thread. CI adds --require-parts.
# setuptools warns in stars of every editable installation whose packages have other names than their folders. Of the
# thousands of modules that are installed, those that are imported are compiled, then.
INSTALL := PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install -q --no-compile

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile $(PYTEST_OPTIONS)

.PHONY: demo test slow fuzz parts script36 transformers4 lint clean

demo: $(VENV)/ready
	$(BIN)/python -m affectnet_plus_modeling.demo demo

test: $(VENV)/ready-dev
	$(PYTEST)

slow: $(VENV)/ready-dev
	$(PYTEST) -m slow

fuzz: $(VENV)/ready-dev
	AFFECTNET_PLUS_LONG=$${AFFECTNET_PLUS_LONG:-1} $(PYTEST) -m slow tests/hostile tests/labelling/test_recovery.py tests/labelling/test_label_ray.py

parts: $(VENV)/parts/ready

script36: $(VENV36)/ready
	$(VENV36)/bin/python -m pytest tests/script36

transformers4: $(VENV)/parts/ready
	HF_HOME=$(abspath $(VENV)/parts/optimum/cache) $(VENV)/parts/optimum/bin/python -m pytest tests/transformers4

lint: $(VENV)/ready-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(VENV36) demo build *.egg-info

# What the package needs at run time. torch goes first, so that a CPU wheel that is at hand serves;
# TORCH="torch --index-url ..." chooses another.
$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q --no-compile $(TORCH)
	$(INSTALL) -e .
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(INSTALL) -e ".[dev]"
	touch $@

# Needs npm and, where there is no Chromium yet, Debian's apt-get as root. tests/support/parts.py says where it is used.
$(VENV)/parts/ready: tests/support/bring_parts.sh | $(VENV)/ready-dev
	bash tests/support/bring_parts.sh $(BIN)/python $(VENV)/parts
	touch $@

# datasets 3.6 is the last that runs scripts; nothing of ours is installed beside it.
$(VENV36)/ready: Makefile
	$(PYTHON) -m venv $(VENV36)
	$(VENV36)/bin/python -m pip install -q datasets==3.6.0 "pillow>=12.2" pytest
	touch $@
