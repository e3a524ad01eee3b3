# Everything is one line that calls Python; `make` alone says what there is.
# Needs python3 (3.11 or newer) only: `setup` makes .venv and whatever else it needs inside the clone.
.DEFAULT_GOAL := help
.PHONY: help messages pictures setup up down logs test test-unit test-sim test-service test-e2e test-browser sim bench bench-ui \
  protos protos-check lint format types check breaking docs certs dist clean
SHELL := /bin/sh

PYTHON ?= python3
BIN := .venv/bin
up down logs certs: export BORAFLOW_HOME ?= $(CURDIR)/.boraflow
up: export BORAFLOW_DAGS_FOLDER ?= $(CURDIR)/examples/dags
# `make test T="tests/unit -k cron"` runs a part; `make up UP=--detach` starts in the background.
T ?= tests
UP ?=
W ?=
DB ?= sqlite

help:  ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install everything into .venv (uv if it can be had, else pip)
	@$(PYTHON) .ci/setup

up: setup  ## Start metastore, scheduler, executor and dashboard; Ctrl-C stops them (UP=--detach: in the background)
	@exec $(BIN)/bora up $(UP)

down:  ## Stop what `make up UP=--detach` started
	@$(BIN)/bora down

logs:  ## Follow the services' logs
	@tail -n 50 -F $(BORAFLOW_HOME)/services/*.log

test: setup  ## All tests (T="tests/unit -k cron" for a part)
	@$(BIN)/python .ci/test $(T)

test-unit: setup  ## Unit tests
	@$(BIN)/pytest tests/unit

test-sim: setup  ## Simulation and scenarios
	@$(BIN)/pytest tests/sim tests/scenarios

test-service: setup  ## Services with both databases
	@$(BIN)/pytest tests/service

test-e2e: setup  ## Real processes
	@$(BIN)/pytest tests/e2e

test-browser: setup  ## The dashboard in a real browser
	@$(BIN)/pytest tests/browser

sim: setup  ## Simulate until something breaks or Ctrl-C
	@$(BIN)/python -m tests.sim

bench: setup  ## Benchmarks as JSON lines (W=chain40 for one, DB=postgresql for the other database)
	@$(BIN)/python -m bench --database $(DB) $(W)

bench-ui: setup  ## The dashboard on a million task instances (W=pages, changes or tabs for a part)
	@$(BIN)/python -m bench.ui --database $(DB) $(W)

protos: setup  ## Generate sdk/boraflow/api from protos/
	@$(BIN)/python protos/generate.py

protos-check: setup  ## Fail if the generated code is not what protos/ says
	@$(BIN)/python protos/generate.py --check

docs: setup  ## Generate the generated parts of docs/reference
	@$(BIN)/python .ci/docs
	@$(BIN)/python .ci/reference
	@$(BIN)/python .ci/sdk

pictures: setup  ## Take the docs' pictures of the dashboard anew
	@$(BIN)/python .ci/pictures

messages: setup  ## Bring the dashboard's message catalogues up to date
	@$(BIN)/python .ci/messages

breaking: setup  ## Fail if protos/ breaks clients of the last commit on main
	@$(BIN)/python .ci/breaking

lint: setup  ## Style, import contracts and proto lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint protos

format: setup  ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup  ## Type check
	@$(BIN)/basedpyright

check: lint types protos-check breaking  ## All that CI runs besides the tests

certs:  ## Development certificates for TLS into .boraflow/tls
	@sh deploy/make-certs.sh $(BORAFLOW_HOME)/tls

dist: setup  ## Build wheel and sdist into dist/
	@$(BIN)/python .ci/dist

clean:  ## Remove what was generated, but not .venv and .boraflow
	@rm -rf dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +
