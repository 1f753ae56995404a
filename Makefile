# Kinora: the commands for users, operators and developers. Needs python3.11 with venv, and make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
KILLS ?= 20
SEED ?= 1
FRAMES ?= 16
IMAGES ?= router creation facefusion interpo upscale kinora
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REGISTRY ?=
ENGINE ?= docker
WORKERS ?= 2
PYTEST_OPTIONS ?=
# Half of a test's time is waiting for other processes: two files at a time fill two cores. What builds images, rolls out
# and kills whole stacks under load (tests/deploy, tests/system) fills them alone.
PYTEST := $(BIN)/pytest $(PYTEST_OPTIONS)
export BENTOML_DO_NOT_TRACK := True
# For buildah and podman: their own format loses health checks; buildah takes equal layers of other images only if it is told.
export BUILDAH_FORMAT ?= docker
export BUILDAH_LAYERS ?= true

# Which build of torch the environment has: `pypi`, which is the one for CUDA, or `cpu`, from PyTorch's own index. Without
# TORCH a new environment gets PyPI's and an existing one keeps its build. A change of the build starts with an empty
# environment: for pip both are the pinned version, and it would keep the installed one.
CPU_WHEELS := https://download.pytorch.org/whl/cpu
NVIDIA := /dev/nvidiactl
BUILT := $(shell cat $(VENV)/.torch 2>/dev/null)
ifdef TORCH
  ANEW := $(if $(filter $(TORCH),$(BUILT)),,anew)
else
  TORCH := $(or $(BUILT),pypi)
  SUGGEST_CPU := $(if $(BUILT)$(wildcard $(NVIDIA)),,yes)
endif
$(if $(filter-out cpu pypi,$(TORCH)),$(error TORCH=$(TORCH): write TORCH=cpu or TORCH=pypi))
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: help setup anew weights serve demo test test-slow test-all lint pins docs dashboard bento containerize sbom images-test chaos bench clean
help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.ready ## Create .venv with the pinned tools: 6 GB, or 3 GB with TORCH=cpu (TORCH=pypi changes back)

$(VENV)/.ready: pyproject.toml requirements.lock $(ANEW)
	$(if $(SUGGEST_CPU),@echo "No NVIDIA GPU here: PyPI's torch is for CUDA and makes 6 GB; with TORCH=cpu it is 3 GB.")
	$(PYTHON) -m venv $(if $(ANEW),--clear) $(VENV)
	echo $(TORCH) > $(VENV)/.torch
	$(if $(filter cpu,$(TORCH)),$(PIP) --no-deps --index-url $(CPU_WHEELS) torch)
	$(PIP) --editable '.[all,dev]'
	$(PIP) --no-deps insightface
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

test: lint weights ## What every change must pass, in minutes: format, lint, types, and every test that is not slow
	$(PYTEST) --numprocesses=$(WORKERS) --dist=loadfile -m "not slow"

test-slow: weights ## The tests that take long: kills under load, roll-outs, several hosts, images, the demo, memory
	$(PYTEST) --numprocesses=$(WORKERS) --dist=loadfile -m slow tests/benchmarks tests/services tests/shared
	$(PYTEST) -m slow tests/deploy tests/system

test-all: lint weights ## Every test, one after the other
	$(PYTEST)

chaos: weights ## Kill everything KILLS times under load and check that nothing was lost
	$(BIN)/python -m benchmarks.chaos --kills $(KILLS) --seed $(SEED) --frames $(FRAMES)

pins: setup ## Write deploy/*/requirements.txt from pyproject.toml and requirements.lock
	$(BIN)/python -m deploy.pins

docs: setup ## Write the pages of settings, in both languages, from shared/settings/
	$(BIN)/python -m deploy.settings_page

dashboard: weights ## Draw the dashboard over three minutes of real tasks into docs/images; needs Debian's prometheus
	$(BIN)/python -m deploy.observability

bento: weights ## Build the bento of every service, and the personal edition with all in one
	@set -e; for image in $(IMAGES); do \
	  file=deploy/$$image/bentofile.yaml; services=; \
	  if [ $$image = kinora ]; then file=bentofile.yaml; services=creation,facefusion,interpo,upscale; fi; \
	  $(BIN)/bentoml delete --yes $$image:$(VERSION) >/dev/null 2>&1 || true; \
	  KINORA_SERVICES=$$services $(BIN)/bentoml build --bentofile $$file --version $(VERSION) --output tag .; \
	done

# From the temporary folder: BentoML unpacks a bento there and takes its template only from below the current one.
containerize: bento ## Make an image of each bento; needs docker, or ENGINE=podman, buildah, nerdctl
	@set -e; bentoml=$(abspath $(BIN))/bentoml; cd "$${TMPDIR:-/tmp}"; for image in $(IMAGES); do \
	  $$bentoml containerize $$image:$(VERSION) --backend $(ENGINE) \
	    --image-tag $(REGISTRY)$$image:$(VERSION) --opt build-arg=KINORA_VERSION=$(VERSION); \
	done

sbom: setup ## Write build/sbom/NAME.cdx.json: what each image contains, and under which licences
	@mkdir -p build/sbom; set -e; for image in $(IMAGES); do \
	  $(BIN)/python -m deploy.sbom $(REGISTRY)$$image:$(VERSION) --engine $(ENGINE) --output build/sbom/$$image.cdx.json; \
	done

images-test: weights ## Build all images without Docker, run them and deploy them; needs root, buildah and mmdebstrap
	$(PYTEST) --capture=no tests/deploy/test_images.py

bench: weights ## Measure; writes benchmarks/results/ and docs/benchmarks.md
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m benchmarks.run

clean: ## Remove what the targets above made, except media and state
	rm -rf $(VENV) build demo benchmarks/work .mypy_cache .ruff_cache .pytest_cache .hypothesis
