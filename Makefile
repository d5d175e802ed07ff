# What there is to do. `make demo` and `make test` are all one needs on a new machine.

# The first Python that is new enough and runs, unless named here.
PYTHON ?=
VENV ?= .venv
BIN = $(VENV)/bin
PORT ?= 8000
PYTEST_ARGS ?=

.PHONY: help demo test check lint types style bench soak docs image-lock release-check clean system init

help:
	@echo "make demo    the whole story on this machine; open the address it prints (PORT=9000 for other ports)"
	@echo "make test    install what the tests need, and run them all"
	@echo "make check   lint, types, tests and coverage: what has to be green"
	@echo "make bench   nginx, the gate and oauth2-proxy side by side"
	@echo "make soak    people at work for ten minutes, and reloads under load"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make release-check   build the package, look inside, install and use it on every Python"
	@echo "make style   format the code"
	@echo "make image-lock   pin and hash anew what the image installs"
	@echo "make clean   remove what was made here"

demo: $(VENV)/.runtime
	@exec $(BIN)/oidcgate demo --port $(PORT)

init: $(VENV)/.everything

$(BIN)/python:
	@tools/make-venv "$(VENV)" $(PYTHON)

$(VENV)/.runtime: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), once; some ten seconds"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.everything: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what tests and pages need into $(VENV), once; about half a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,docs]'
	@touch $@ $(VENV)/.runtime

# Programs that the tests drive and pip cannot bring: Chromium, Node.js with npm, Redis, proxies that ask the gate,
# Prometheus, bubblewrap and systemd for what is deployed, shells that complete commands.
system:
	@tools/system-packages chromium node npm redis-server nginx nginx-set-misc haproxy prometheus bwrap \
		systemd-analyze zsh fish

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

# The variable silences the theme's advertisement of its successor, the only thing that it has to say.
docs: $(VENV)/.everything
	@$(BIN)/python tools/configuration-reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html"

# What the image installs: constraints.txt's versions, with the hashes of every file there is of each.
UV_LOCK = $(BIN)/uv --no-config --quiet pip compile --generate-hashes --python-version 3.13 \
	--python-platform x86_64-unknown-linux-gnu --custom-compile-command "make image-lock"
image-lock: $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lock]'
	@$(UV_LOCK) --extra redis --constraint constraints.txt --output-file deploy/image/requirements.txt setup.cfg
	@echo "setuptools>=77" | $(UV_LOCK) --constraint constraints.txt --output-file deploy/image/build-requirements.txt -

$(VENV)/.release: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	@touch $@ $(VENV)/.runtime

# OIDCGATE_PYTHONS="3.11 3.12 3.13" names the Pythons; RELEASE=1 asks for a changelog that begins with the version.
release-check: $(VENV)/.release
	@$(BIN)/python -m tools.release

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
