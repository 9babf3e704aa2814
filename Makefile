# Every command of the project, one each. `make help` lists them.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
  $$python -c 'import sys' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
# Tests start hundreds of short processes, and each would compile all anew.
unexport PYTHONDONTWRITEBYTECODE
# Tests of a file stay together, where they share a gateway, until some worker has nothing more to do.
SPREAD := -n auto --dist worksteal
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help serve test test-fast test-clients coverage lint format lock bench fuzz torture clean

help: ## List the commands.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

serve: $(VENV)/.serve ## Make the environment if there is none, and start the gateway on 127.0.0.1:8100.
	@exec $(BIN)/spine serve $(ARGS)

test: $(VENV)/.dev ## Lint, type-check and run every test that needs no browser.
	@echo "==> lint" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> floors" && $(BIN)/lint-imports
	@echo "==> types" && $(BIN)/mypy
	@echo "==> tests" && $(BIN)/pytest $(SPREAD) $(ARGS)

test-fast: $(VENV)/.dev ## Run the tests alone.
	@$(BIN)/pytest $(SPREAD) -q $(ARGS)

coverage: $(VENV)/.dev ## Run the tests, and tell which lines and branches none of them reached: takes twice as long.
	@$(BIN)/pytest $(SPREAD) -q --cov --cov-report=term $(ARGS)

test-clients: $(VENV)/.dev $(VENV)-clients/.installed $(CLIENTS)/node_modules/.installed ## Run agents and frameworks through the gateway; needs Node 20 or newer.
	@$(BIN)/pytest $(SPREAD) $(CLIENTS) $(ARGS)

lint: $(VENV)/.dev ## Lint, check the floors and the types.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy

format: $(VENV)/.dev ## Bring the code into form.
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure the gateway beside nginx, a naive proxy and LiteLLM.
	@$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)-fuzz/.made ## Fuzz every reader of foreign bytes, each for some seconds: make fuzz ARGS="60 stream-gemini".
	@$(VENV)-fuzz/bin/python -m tests.fuzz $(or $(ARGS),30)

torture: $(VENV)/.dev ## Kill workers at random while database and Redis come and go, then look at the ledger: make torture ARGS="200".
	@$(BIN)/python -m tests.torture $(ARGS)

lock: ## Resolve the requirements anew into the two lock files.
	@for group in "" dev; do \
	  $(BIN)/python -m uv pip compile pyproject.toml --group build $${group:+--group $$group} --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	    --output-file requirements$${group:+-$$group}.lock || exit 1; done
	@$(BIN)/python -m uv pip compile $(CLIENTS)/requirements.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --output-file $(CLIENTS)/requirements.lock
	@npm install --prefix $(CLIENTS) --package-lock-only --no-audit --no-fund --loglevel=error

clean: ## Remove the environment and everything that can be made again.
	@rm -rf $(VENV) $(VENV)-clients $(VENV)-fuzz $(CLIENTS)/node_modules .fuzz
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments: made once, and again when a lock or the project's metadata changes.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "GenAI Spine needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1). Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "==> making the environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The module venv is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.serve: $(BIN)/python requirements.lock pyproject.toml
	@if [ ! -e $(VENV)/.dev ]; then echo "==> installing the locked requirements (once, about a minute)" && \
	  $(BIN)/python $(PIP) --require-hashes -r requirements.lock && \
	  $(BIN)/python $(PIP) --no-deps --no-build-isolation -e . ; fi
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements-dev.lock pyproject.toml
	@echo "==> installing the locked requirements for development (once, a minute or two)"
	@$(BIN)/python $(PIP) --require-hashes -r requirements-dev.lock
	@$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The clients: the frameworks of Python apart from ours, whose packages they would bind; scripts of Node's packages are not run.

$(VENV)-clients/.installed: $(CLIENTS)/requirements.lock | $(BIN)/python
	@echo "==> installing the clients of Python (once, about half a minute)"
	@$(BIN)/python -m venv $(VENV)-clients
	@$(VENV)-clients/bin/python $(PIP) --require-hashes -r $<
	@touch $@

$(CLIENTS)/node_modules/.installed: $(CLIENTS)/package-lock.json
	@node -e 'process.exit(Number(parseInt(process.versions.node) < 20))' 2>/dev/null && npm --version >/dev/null 2>&1 || \
	  { echo "The clients need Node 20 or newer, and npm; found: node $$(node --version 2>/dev/null || echo none)." \
	    "On Debian or Ubuntu: apt-get install nodejs npm"; exit 1; }
	@echo "==> installing the clients of Node (once, half a minute, 0.8 GB)"
	@npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Apart, for the fuzzer has no wheel for every Python.
$(VENV)-fuzz/.made: requirements-dev.lock pyproject.toml
	@echo "==> making the environment for fuzzing in $(VENV)-fuzz (Atheris has wheels for Python 3.11 to 3.13 on Linux)"
	@$(PYTHON) -m venv $(VENV)-fuzz
	@$(VENV)-fuzz/bin/python $(PIP) --require-hashes -r requirements-dev.lock
	@$(VENV)-fuzz/bin/python $(PIP) --only-binary :all: "atheris>=3,<4"
	@$(VENV)-fuzz/bin/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@
