# wxsign. `make run` needs make and Python 3.11 or newer, nothing else; `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Both venv targets write into one folder.
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
# What `make test` passes on to pytest, as in: make test ARGS="-k signing -x"
ARGS ?=

export VENV

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: $(VENV)/.runtime ## Service, sandbox and demo page on port PORT (8000); with WXSIGN_APPID or WXSIGN_CONFIG the service for that account
	@if [ -n "$${WXSIGN_APPID:-}$${WXSIGN_CONFIG:-}" ]; \
	then exec $(BIN)/wxsign serve --port $(PORT); \
	else exec $(BIN)/wxsign dev --port $(PORT); fi

.PHONY: test
test: test-js test-python test-fleets ## Every test but the longest, in some five minutes: with branch coverage, then fleets of real processes

PYTEST := $(BIN)/python -m pytest
.PHONY: test-python
test-python: $(VENV)/.dev $(VENV)/.servers node_modules/.installed ## The tests without fleets, with branch coverage; ARGS="-k signing -x" runs a part
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 3 -m "not fleet and not days and not timing and not long" $(ARGS)
	@$(BIN)/coverage combine --quiet || true # A process that a test killed may leave half a file.
	$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

# The files that have such tests, where ARGS does not name others: to collect all takes seconds in each process.
marked = $(or $(ARGS),$(shell grep -lE 'mark\.($(1))' tests/test_*.py))

# Fleets wait more than they work. What compares times comes last, alone.
.PHONY: test-fleets
test-fleets: $(VENV)/.dev $(VENV)/.servers node_modules/.installed ## Fleets of real processes and simulated days, side by side, without coverage
	$(PYTEST) -n 3 --dist worksteal -m "(fleet or days) and not timing and not long" $(call marked,fleet|days)
	$(PYTEST) -m "timing and not long" $(call marked,timing)

.PHONY: test-long
test-long: $(VENV)/.dev $(VENV)/.servers node_modules/.installed ## Every test in one process, the longest too, then all of chaos
	LONG_TESTS=1 $(PYTEST) $(ARGS)
	$(BIN)/python -m chaos

.PHONY: test-js
test-js: node_modules/.installed
	@if [ -x node_modules/.bin/tsc ]; \
	then npm run --silent types && npm test --silent; \
	else echo "npm is not installed: the tests of the browser client were skipped."; test -z "$${CI:-}"; fi

.PHONY: examples
examples: $(VENV)/.dev $(VENV)/.servers node_modules/.installed ## The example apps in Vue and React with the npm package: types, builds, a render on a server, vite dev in Chromium
	@if command -v npm >/dev/null 2>&1; then node scripts/check-examples.mjs; \
	else echo "npm is not installed: the example apps were skipped."; test -z "$${CI:-}"; fi

.PHONY: lint
lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## Format the Python code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev $(VENV)/.servers ## CPU, requests per second and memory beside a bare constant, a Flask view, nginx and what others serve in Node
	$(BIN)/python -m bench $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.dev $(VENV)/.servers ## A whole installation under load while its parts break, in some 15 minutes; ARGS="--scenario NAME"
	$(BIN)/python -m chaos $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.dev node_modules/.installed ## The pictures of docs/img/ that the READMEs show
	@scripts/system-packages chromium fonts-wqy-microhei
	$(BIN)/python scripts/screenshots.py

.PHONY: dist
dist: $(VENV)/.dev ## Wheel and source distribution, in dist/
	$(BIN)/python -m hatchling build

# The resolver reads no pip configuration and writes no index address: the files hold names, versions and hashes alone.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' $(UPGRADE)
.PHONY: lock
lock: ## Resolve requirements/*.txt anew (needs uv); UPGRADE=--upgrade takes the newest versions
	$(LOCK) pyproject.toml --extra dev --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra redis --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --extra redis --extra metrics --extra granian --constraint requirements/dev.txt --output-file requirements/image.txt
	$(LOCK) requirements/build.in --constraint requirements/dev.txt --output-file requirements/build.txt

.PHONY: clean
clean: ## Remove what the other targets made; the store in var/ stays
	rm -rf $(VENV) node_modules dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*

$(VENV)/.runtime: scripts/setup scripts/find-python requirements/runtime.txt requirements/build.txt pyproject.toml
	@scripts/setup runtime
	@touch $@

$(VENV)/.dev: scripts/setup scripts/find-python requirements/dev.txt pyproject.toml
	@scripts/setup dev
	@touch $@ $(VENV)/.runtime

$(VENV)/.servers: scripts/system-packages $(VENV)/.dev
	@scripts/system-packages nginx wrk redis-server chromium openssl curl php-cli
	@touch $@

node_modules/.installed: package.json package-lock.json
	@if command -v npm >/dev/null 2>&1; then npm ci --silent --no-audit --no-fund; fi
	@mkdir -p node_modules && touch $@
