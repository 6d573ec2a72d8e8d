# `make` alone explains the targets. Everything happens inside .venv; nothing else is touched.

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-servers test-simulation mutants test-chaos chaos fmt lint types imports bench wheel-check clean

# The first interpreter that fits; `make PYTHON=/path/to/python3.12 demo` chooses another.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

help: ## explain the targets
	@echo "make demo            run the product on this machine (ARGS=\"--seconds 60\" is passed on)"
	@echo "make test            run the tests, but for those of test-chaos"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and not on the path." >&2; exit 1; }
	@echo "making a virtual environment with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --upgrade "pip>=25.1"

# What the demo needs.
.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing member-lifecycle (about a minute)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

# What tests, checks and benchmarks need as well.
.venv/.complete: .venv/.runtime
	@echo "installing what the tests need"
	@$(PIP) install -c constraints.txt -e ".[data,evaluate]" --group dev
	@touch $@

setup: .venv/.complete ## virtual environment with everything

demo: .venv/.runtime ## run the main job on a local Kafka and Redis (ARGS= passed on)
	@$(BIN)/lifecycle demo $(ARGS)

# What starts servers mostly waits for them: one test after the other, and beside it, at a low
# priority, everything that needs none.
SERVERS := kafka or slow or browser or prometheus
test: .venv/.complete ## all tests, on a real Kafka and Redis that they start themselves
ifeq ($(ARGS),)
	@log=$$(mktemp); nice -n 10 $(MAKE) --no-print-directory test-fast >$$log 2>&1 & \
	fast=$$!; trap 'kill $$fast 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	$(MAKE) --no-print-directory test-servers; slow=$$?; \
	wait $$fast; status=$$?; trap - EXIT; cat $$log; rm $$log; [ $$slow = 0 ] && exit $$status; exit $$slow
else
	@$(BIN)/python -m pytest -m "not chaos" $(ARGS)
endif

test-fast: .venv/.complete ## the tests that need no server
	@$(BIN)/python -m pytest -n auto -m "not chaos and not ($(SERVERS))" $(ARGS)

test-servers: .venv/.complete ## the tests that need one
	@$(BIN)/python -m pytest -m "not chaos and ($(SERVERS))" $(ARGS)

test-simulation: .venv/.complete ## thousands of simulated disasters (ARGS="--seed 7" repeats one)
	@PYTHONPATH=tests/support $(BIN)/python -m simulation $(or $(ARGS),--seeds 10000)

mutants: .venv/.complete ## mistakes made on purpose, and which no test notices (ARGS="rules")
	@PYTHONPATH=.:tests/support $(BIN)/python tests/support/mutants.py $(ARGS)

test-chaos: .venv/.complete ## tests that break real brokers, networks and workers
	@$(BIN)/python -m pytest -m chaos $(ARGS)

chaos: .venv/.runtime ## break a local system at random, and judge what came out (ARGS= passed on)
	@$(BIN)/lifecycle chaos $(or $(ARGS),--kills 20 --seed 1 --workers 3)

fmt: .venv/.complete ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: .venv/.complete ## formatting and lint
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: .venv/.complete ## mypy --strict
	@$(BIN)/mypy
	@MYPYPATH=examples/gateway $(BIN)/mypy examples/gateway/gateway.py examples/gateway/smtp_sink.py

imports: .venv/.complete ## the direction of imports
	@$(BIN)/lint-imports

bench: .venv/.complete ## benchmarks (ARGS="throughput" and others)
	@$(BIN)/lifecycle bench $(or $(ARGS),throughput)

wheel-check: .venv/.complete ## build the wheel and use it from an empty environment
	@sh tests/wheel_check.sh $(BIN)/python

clean: ## remove the environment and everything built; data of `lifecycle up` stays
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
