# LoRA Studio. `make start` is all a person needs; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
# Arguments to pip for torch. On Linux the package index gives the CUDA build (gigabytes). For a machine without an NVIDIA GPU:
#   make start TORCH="torch==2.13.0 --index-url ADDRESS"   with the address of the CPU wheel index of PyTorch.
TORCH ?= torch --constraint requirements/constraints.txt

PY := $(VENV)/bin/python
# A stamp is named after what was installed, so that a change of the files installs again, and a checkout of old ones too.
SUM := $(shell cat requirements.txt requirements/*.txt | cksum | cut -d ' ' -f 1)
READY := $(VENV)/.ready-$(SUM)
READY_DEV := $(VENV)/.ready-dev-$(SUM)
JUNIT ?= build/junit.xml
JUNIT_BROWSER ?= build/junit-browser.xml
# Test processes side by side; many tests wait for a child or a database, so three are well used on two cores. Files are taken
# in their order: the long ones (faults, journeys) are not among the last.
TEST_PROCESSES ?= 3
PYTEST := $(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install install-dev start test test-all test-debian-postgres test-hosted check format bench demo clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY)  ## make .venv with what app and runner need

install-dev: $(READY_DEV)  ## also what tests and checks need

start: $(READY)  ## fetch the demo model once, start the app and a runner, print the address
	@$(PY) -m runner.models fetch smollm2-135m-instruct > /dev/null || echo "The studio starts without the demo model."
	@$(PY) -m lora_core start

test: $(READY_DEV)  ## the fast tests
	$(PYTEST)

test-all: $(READY_DEV)  ## also the slow ones, then those in a browser, one after the other
	$(PYTEST) -m "not browser and not gpu and not hosted" -p tests.ci.no_skips --junitxml=$(JUNIT)
	$(PY) -m pytest -m "browser and not gpu and not hosted" -p tests.ci.no_skips --junitxml=$(JUNIT_BROWSER)

test-debian-postgres: $(READY_DEV)  ## the team's database on Debian's PostgreSQL instead of the package's
	LORA_STUDIO_TEST_POSTGRES=debian $(PYTEST) tests/supabase_sql tests/security tests/supastub tests/contracts/test_supabase.py

test-hosted: $(READY_DEV)  ## the store's contract on a real Supabase project, its keys in the environment
	$(PY) -m pytest -m hosted

check: $(READY_DEV)  ## format, lint, types, import contracts
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	PYTHONPATH=. $(VENV)/bin/lint-imports --cache-dir build/import_linter

format: $(READY_DEV)  ## rewrite the code in the house's format
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(READY_DEV)  ## measure seconds and megabytes
	$(PY) -m benchmarks

demo: $(READY)  ## a whole training run on the demo data, in the terminal
	@$(PY) -m runner.models fetch smollm2-135m-instruct > /dev/null
	@$(PY) -m examples.demo

clean:  ## remove what builds and tests left (not .venv, not your studio's home)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "LoRA Studio needs Python 3.11 or newer: make start PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): | $(PY)
	$(PY) -m pip install --disable-pip-version-check $(TORCH)
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@rm -f $(VENV)/.ready-[0-9]* && touch $@

$(READY_DEV): $(READY)
	$(PY) -m pip install --disable-pip-version-check -r requirements/dev.txt
	@rm -f $(VENV)/.ready-dev-* && touch $@
