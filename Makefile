# Two commands need nothing but python3, python3-venv, git and make: `make quickstart` and `make test`.
# Both build .venv from the exact versions in constraints.txt; a second run finds the stamp and starts at once.

PYTHON ?= python3
# Address of an index with PyTorch's CPU wheels. Empty: the torch that your pip finds (on Linux that may be a large CUDA build).
TORCH_INDEX ?=
# What the tests use of the system: Chromium shows that the report opens without an error; the others make sandboxes, their
# images, and a registry to fetch images from.
DEBIAN_PACKAGES ?= chromium chromium-headless-shell bubblewrap docker.io debootstrap docker-registry python3-pytest
# Processes that run tests, a whole file in each: the browsers, containers and networks of two fill two cores.
JOBS ?= 2
# Further arguments for pytest, for example `make test ARGS="-k grid -x"`.
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Twice quiet: errors alone. Byte code is written when a module is first imported; compiling all of torch and
# transformers beforehand would double the wait.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --no-compile --constraint constraints.txt
# The tests, and many small networks, run faster on one thread than on a pool fighting over few cores.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help quickstart quickstart-in-containers test test-quick lint bench clean debian-packages
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: $(VENV)/.quickstart ## train a small agent on a gridworld and show what it learnt
	$(BIN)/agentgym quickstart

quickstart-in-containers: $(VENV)/.test ## the same, training and environments each in a container without network
	$(BIN)/agentgym images build serve train $(addprefix --torch-index ,$(TORCH_INDEX))
	$(BIN)/agentgym quickstart --in-containers

test: debian-packages $(VENV)/.test ## run every test
	$(PYTEST) -n $(JOBS) --dist loadfile $(ARGS)

test-quick: $(VENV)/.test ## run the tests that are not marked slow
	$(PYTEST) -n $(JOBS) --dist loadfile -m "not slow" $(ARGS)

lint: $(VENV)/.test ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test ## run every benchmark in its short form
	@set -e; for file in $(filter-out benchmarks/common.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file --quick; done

clean: ## remove caches and build outputs (.venv and runs/ stay)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# pip is the last file that `python -m venv` writes: an attempt cut short is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "agentgym needs Python 3.11, 3.12 or 3.13; $(PYTHON) is: $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "== creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# torch goes in first and alone, so that no package which needs it can choose its build; with it what builds packages that
# come as source (django-haystack asks setuptools-scm for its version, and without it is refused as version 0.0.0).
$(VENV)/.torch: constraints.txt | $(BIN)/pip
	@echo "== installing torch (about 200 MB for a CPU build; TORCH_INDEX names an index of those)"
	@$(PIP) $(addprefix --extra-index-url ,$(TORCH_INDEX)) torch setuptools setuptools-scm
	@touch $@

$(VENV)/.quickstart: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "== installing agentgym[grid,train]"
	@$(PIP) --no-build-isolation --editable '.[grid,train]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "== installing agentgym[all,dev]"
	@$(PIP) --no-build-isolation --editable '.[all,dev]'
	@touch $@ $(VENV)/.quickstart

# Installed where this user may install; elsewhere named, and the tests that need them say so when they skip.
debian-packages:
	@missing=""; for package in $(DEBIAN_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then as=none; \
	elif [ "$$(id -u)" = 0 ]; then as=env; \
	elif sudo -n true 2>/dev/null; then as="sudo env"; \
	else as=none; fi; \
	if [ "$$as" != none ]; then \
	  echo "== installing Debian packages:$$missing"; \
	  $$as apt-get -qq update && \
	  $$as DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $$missing >/dev/null && exit 0; \
	fi; \
	echo "== not installed, so some tests will be skipped:$$missing (on Debian: apt-get install$$missing)" >&2
