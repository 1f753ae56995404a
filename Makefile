# Kinora: everything that a newcomer, an operator or a reviewer runs. Needs python3.11 with venv, and make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
export BENTOML_DO_NOT_TRACK := True

.PHONY: setup weights serve demo test lint chaos bench clean
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[all,dev]'
	touch $@
