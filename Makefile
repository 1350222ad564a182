# Two commands a new user needs: `make demo` and `make test`. Everything else is for who works on the code.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo up test again nightly chaos check format bench clean

help:            ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## install, then a whole campaign around the world in under three minutes
	$(BIN)/orchestrator demo

up: $(VENV)/.run ## daemon, API and sandbox, until Ctrl-C
	$(BIN)/orchestrator up

test: $(VENV)/.dev ## every test
	$(BIN)/python -m pytest -n auto tests

again: $(VENV)/.dev ## the tests that failed last time, one after the other
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none tests

nightly: $(VENV)/.dev ## every test in its full size
	NIGHTLY=1 $(BIN)/python -m pytest -n auto --timeout 3600 tests

chaos: $(VENV)/.dev ## the promises under faults: SIZE=short|medium|full ONLY=R1,R8 FULL=R4 MINUTES=2, CHAOS_SEED=…
	$(BIN)/python -m tests.chaos --size $(or $(SIZE),medium) --minutes $(or $(MINUTES),2) --full "$(FULL)" $(if $(ONLY),--only $(ONLY) $(if $(WRITE),--write),--write)

check: $(VENV)/.dev ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## the figures of docs/benchmarks.md
	$(BIN)/python -m bench --write

clean:           ## remove what the commands above made
	rm -rf $(VENV) .demo .up report.html
