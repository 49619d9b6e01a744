# Every target creates what it needs: a fresh clone and `make demo` or `make test` is all there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint format bench claims docs clean

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/pruneaudit demo

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadfile

bench: $(READY)
	$(BIN)/python benchmarks/all.py

# Published claims on two data sets (docs/claims/): `make claims QUICK=1` tries it in minutes.
RUNS ?= runs
CLAIMS := claims-location$(if $(QUICK),-quick) claims-fashion$(if $(QUICK),-quick)
claims: $(READY)
	for name in $(CLAIMS); do $(BIN)/pruneaudit run $$name --out $(RUNS) $(if $(DATA_ROOT),--data-root $(DATA_ROOT)) || exit; done
	$(BIN)/pruneaudit claims $(CLAIMS:%=$(RUNS)/%) --out $(RUNS)/claims$(if $(QUICK),-quick)

docs: $(READY)
	$(BIN)/python scripts/gallery.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
