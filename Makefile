# Two commands on a fresh machine: `make demo` and `make test`. Each makes its own environment in .venv.
# uv is used where it is installed, else python -m venv and pip. PYTHON= chooses another interpreter (3.10 to 3.13).

PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tested versions, for the Python they were frozen on; other Pythons take what pyproject.toml allows.
PINS := $(if $(findstring 3.11,$(shell $(PYTHON) -V 2>&1)),-c .ci/constraints.txt,)

.PHONY: help demo test test-fast lint bench proto docs clean
help:
	@echo "make demo   lose a network, bring it back, teach it more, prove it; leaves demo-out/report.html"
	@echo "make test   lint, types, and every test"
	@echo "make test-fast  the tests of the first five minutes: no networks, no fuzzing, no whole processes"
	@echo "make bench  print the benchmarks' ratios"
	@echo "make proto  regenerate the gRPC stubs"
	@echo "make docs   regenerate docs/ops.md"
	@echo "make clean  remove the environment and what was built"

$(READY): pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "liteback needs Python 3.10 to 3.13, and finds none"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python $(PINS) -e '.[host,agent,dev]'; \
	else \
	  "$(PYTHON)" -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e '.[host,agent,dev]'; \
	fi
# The clone is a folder `liteback`: from the folder that it is in, Python would take it for the package, did the path
# not lead to the sources themselves. What pip makes for an editable installation is asked too late for that.
	@for root in proto device_agent host deploy; do echo "$(CURDIR)/$$root"; done > \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/liteback_roots.pth"
	@touch $@

demo: $(READY)
	@$(BIN)/python -m liteback.demo demo-out

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Two workers: each has an agent of its own.
test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not networks"

bench: $(READY)
	@for b in tests/bench/bench_*.py; do $(BIN)/python $$b || exit 1; done

proto: $(READY)
	sh proto/generate.sh

docs: $(READY)
	$(BIN)/python -m liteback.emit.listing > docs/ops.md

clean:
	rm -rf $(VENV) build demo-out .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
