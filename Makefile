# Every target needs nothing but make, git and CPython 3.11 or 3.12 with venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not ((3,11) <= sys.version_info[:2] <= (3,12)))' 2>/dev/null && { echo $$p; break; }; done)
UV := .tools/bin/uv
RUN := .venv/bin/
STAMP := .venv/.installed
MARKS := $(if $(JAVA),,not java and )not slow
export UV_PYTHON_DOWNLOADS := never
export UV_CACHE_DIR ?= $(CURDIR)/.uv-cache
# uv compiles bytecode at installation; without it torch and composer import three times slower.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up test test-slow check fmt lock bench dist clean install
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(UV):
	@test -n "$(PYTHON)" || { echo "No CPython 3.11 or 3.12 found. Install one, or run: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

$(STAMP): requirements.lock pyproject.toml
	@test -z "$(PYTHON)" || $(PYTHON) .ci/preflight.py
	@$(MAKE) --no-print-directory $(UV)
	@test -x $(RUN)python || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(or $(PYTHON),$(RUN)python) .ci/install.py $(UV) pip sync --python $(RUN)python --compile-bytecode --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(RUN)python --no-deps --no-build-isolation --editable .
	@touch $@

install: $(STAMP) ## create the environment from the hash-locked requirements

demo: $(STAMP) ## the whole story, from raw flights to a retrained, served model (SMALL=1: two months of history, fewer rows)
	@$(RUN)mosaic demo $(if $(SMALL),--small)

up: $(STAMP) ## Dagster UI, daemon, MLflow and endpoint together
	@$(RUN)mosaic up

test: $(STAMP) ## the tests, in two halves side by side (JAVA=1 adds those that need a JVM; ARGS for pytest run them in one)
	@$(RUN)$(if $(ARGS),pytest,python .ci/halves.py) -m '$(MARKS)' $(ARGS)

test-slow: $(STAMP) ## the long draws
	@$(RUN)pytest -m 'slow' $(ARGS)

# dg looks at every component that is installed, and Dagster warns of one of dagster-spark's that nothing here uses.
check: export PYTHONWARNINGS = ignore:Class `SparkDeclarativePipelineScaffolder` is currently in preview::dagster.components.scaffold.scaffold
check: $(STAMP) ## format, lint, types, import contracts, dg check; changes nothing
	@$(RUN)ruff format --check .
	@$(RUN)ruff check .
	@$(RUN)mypy
	@$(RUN)lint-imports --no-cache
	@$(RUN)dg check yaml
	@$(RUN)dg check defs

fmt: $(STAMP) ## format and fix
	@$(RUN)ruff format .
	@$(RUN)ruff check --fix .

lock: $(UV) ## resolve requirements.lock anew
	@$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

bench: $(STAMP) ## the races (RACE=asof: one of them); peers get environments of their own
	@$(RUN)python -m benchmarks.harness $(RACE)

dist: $(STAMP) ## build the wheel
	@$(UV) build --quiet --wheel

clean: ## remove everything that runs leave behind; prints the size
	@du -sh .mosaic 2>/dev/null || true
	@rm -rf .mosaic dist dbt_project/target
