# What there is to do. `make demo` and `make test` are all one needs on a new machine.

# The first Python that is new enough and runs, unless named here.
PYTHON ?=
VENV ?= .venv
BIN = $(VENV)/bin
PORT ?= 8000
PYTEST_ARGS ?=

.PHONY: help demo test check lint types style bench soak clean system init

help:
	@echo "make demo    the whole story on this machine; open the address it prints"
	@echo "make test    install what the tests need, and run them all"
	@echo "make check   lint, types, tests and coverage: what has to be green"
	@echo "make bench   nginx, the gate and oauth2-proxy side by side"
	@echo "make soak    people at work for ten minutes, and reloads under load"
	@echo "make style   format the code"
	@echo "make clean   remove what was made here"

demo: $(VENV)/.runtime
	@exec $(BIN)/oidcgate demo --port $(PORT)

init: $(VENV)/.everything

$(BIN)/python:
	@tools/make-venv "$(VENV)" $(PYTHON)

$(VENV)/.runtime: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.everything: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@ $(VENV)/.runtime

# Programs that the tests drive and pip cannot bring: Chromium, Node.js with npm, Redis, proxies that ask the gate.
system:
	@tools/system-packages chromium node npm redis-server nginx nginx-set-misc haproxy

test: $(VENV)/.everything system
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.everything lint types
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term:skip-covered $(PYTEST_ARGS)"

lint: $(VENV)/.everything
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports 

types: $(VENV)/.everything
	@$(BIN)/mypy

style: $(VENV)/.everything
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.everything
	@tools/system-packages nginx wrk go taskset curl
	@$(BIN)/python -m bench $(BENCH_ARGS)
	@$(BIN)/python -m bench.workers

soak: $(VENV)/.everything
	@tools/system-packages redis-server
	@$(BIN)/python -m bench.soak $(SOAK_ARGS)
	@OIDCGATE_RELOADS=20 $(BIN)/python -m pytest -q -s tests/journeys/test_fleet_reload.py

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
