# The README's two commands, each with its own set-up in .venv:
#   make demo   installs the core and upscales an image of the repository
#   make test   installs the rest and runs lint, types and tests
# Also:
#   make fast   the tests that train nothing and build no large network, in a minute or two
#   make floors the tests that need no PyTorch, with the lowest versions of all dependencies that are allowed
#   make docs   the documentation as a site, in build/site
#   make wheel  a wheel with the native engine, in dist/
#   make native builds the engine again after a change of native/ (installing builds it as well)
#   make wasm   builds the engine for browsers again after that, the same to the bit everywhere, with a compiler from PyPI
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TWO := -n 2 --dist loadfile --no-loadscope-reorder  # test processes, a file of tests to each in turn, long ones first
WITHOUT_TORCH := image/test_image_read.py image/test_image_write.py pipeline/test_jobs.py pipeline/test_strip_queue.py \
  twopass/test_roles.py app/test_read_once.py verbs/test_upscale_folder.py verbs/test_upscale_verb.py
SOURCES := pyproject.toml constraints.txt hatch_build.py native/CMakeLists.txt $(wildcard native/src/* native/include/*)

.PHONY: demo test fast floors lint docs bench wheel native wasm clean

demo: $(VENV)/core
	@mkdir -p build
	$(BIN)/sharpbit upscale docs/images/demo.png -n x4-clean-balanced -o build/demo_x4.png --overwrite

test: $(VENV)/dev lint
	$(BIN)/python -m pytest $(TWO) --durations 20

fast: $(VENV)/dev
	$(BIN)/python -m pytest $(TWO) -m "not slow"

floors: | $(BIN)/python
	$(PYTHON) -m venv build/floors
	$(BIN)/python scripts/floors.py > build/floors/floors.txt
	build/floors/bin/python -m pip --disable-pip-version-check --quiet install -c build/floors/floors.txt . pytest pypng tifffile
	cd tests && ../build/floors/bin/python -m pytest -c ../pyproject.toml --rootdir .. $(WITHOUT_TORCH)

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
	@test -e build/native/sources || { echo "the engine was not built: pip -v install --no-deps -e . says why" >&2; exit 1; }

wasm: $(VENV)/dev
	$(PIP) install ziglang==$$(sed -n 's/^COMPILER = "\(.*\)"/\1/p' scripts/build_wasm.py)
	$(BIN)/python scripts/build_wasm.py

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
