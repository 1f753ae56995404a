# Kinora: everything that a newcomer, an operator or a reviewer runs. Needs python3.11 with venv, and make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
KILLS ?= 20
SEED ?= 1
export BENTOML_DO_NOT_TRACK := True

.PHONY: help setup weights serve demo test lint chaos bench clean
help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.ready ## Create .venv with the pinned tools

$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[all,dev]'
	touch $@

weights: setup ## Fetch the models and clips that the demo and the tests need, verified
	$(BIN)/kinora weights pull

serve: weights ## Start everything for daily use: the router on 127.0.0.1:5000
	$(BIN)/kinora serve

demo: weights ## One real task per capability, end to end; writes demo/
	$(BIN)/kinora demo

lint: setup ## Format, lint and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

test: lint weights ## Everything that a change must pass
	$(BIN)/pytest

chaos: weights ## Kill everything KILLS times under load and check that nothing was lost
	$(BIN)/python -m benchmarks.chaos --kills $(KILLS) --seed $(SEED)

bench: weights ## Measure; writes benchmarks/results/ and docs/benchmarks.md
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[bench]'
	$(BIN)/python -m benchmarks.run

clean: ## Remove what the targets above made, except media and state
	rm -rf $(VENV) build demo benchmarks/work .mypy_cache .ruff_cache .pytest_cache .hypothesis
