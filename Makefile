# akashi: every command a newcomer needs. Plain `make` prints them.
# PYTHON is the interpreter the virtual environment is made of (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PYTHONDONTWRITEBYTECODE = 1

.DEFAULT_GOAL := help
.PHONY: help demo up test check bench soak lock clean system

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

demo: $(VENV)/.runtime ## the pilot's story in one run: issue, deliver, submit, verify, refuse (about a minute)
	@$(BIN)/akashi demo --home var/demo

up: $(VENV)/.runtime ## start the whole house on this machine, print its addresses; Ctrl-C stops it
	@$(BIN)/akashi up --home var/up

test: $(VENV)/.test system ## everything: style, types, all tests
	@$(MAKE) --no-print-directory check
	@PATH="$$PATH:/usr/sbin:/sbin:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)" $(BIN)/python -m pytest -q -n 2 --durations=25

check: $(VENV)/.test ## style and types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

bench: $(VENV)/.test ## measure every step; a table here, JSON lines in var/bench/latest.jsonl
	@$(BIN)/python tests/bench/run.py

soak: $(VENV)/.test system ## faults for hours: 10,000 kills, every file-system call, the whole house (AKASHI_SOAK_MINUTES limits it)
	@PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python tests/soak/run.py

lock: ## resolve requirements/*.in again into hash-pinned files (needs uv)
	@cd requirements && for name in verifier runtime test; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --prerelease if-necessary-or-explicit $$name.in -o $$name.txt; done

clean: ## remove the environment and everything under var/
	@rm -rf $(VENV) var

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); sh tests/support/system_packages.sh python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the pinned packages (once)…" >&2
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e ./verifier -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.runtime
	@echo "installing the pinned test packages (once)…" >&2
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

system: ## install the Debian packages the tests use, where they are missing
	@sh tests/support/system_packages.sh
