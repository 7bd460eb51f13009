# The README's two commands, each with its own set-up in .venv:
#   make demo   installs the core and upscales an image of the repository
#   make test   installs the rest and runs lint, types and tests
# Also:
#   make docs   the documentation as a site, in build/site
#   make wheel  a wheel with the native engine, in dist/
#   make native builds the engine again after a change of native/ (installing builds it as well)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt hatch_build.py native/CMakeLists.txt $(wildcard native/src/* native/include/*)

.PHONY: demo test lint docs bench wheel native clean

demo: $(VENV)/core
	@mkdir -p build
	$(BIN)/sharpbit upscale docs/images/demo.png -n x4-clean-balanced -o build/demo_x4.png --overwrite

test: $(VENV)/dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/dev
	$(BIN)/python scripts/build_site.py

bench: $(VENV)/dev
	$(BIN)/python bench/start.py
	$(BIN)/python bench/memory.py

wheel: | $(BIN)/python
	$(PIP) wheel --no-deps --wheel-dir dist .

native: $(VENV)/core
	$(PIP) install --no-deps --editable .

$(VENV)/core: $(SOURCES) | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: $(SOURCES) | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/core

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sharpbit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
