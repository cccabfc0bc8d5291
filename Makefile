# Everything starts from nothing but Python: the virtual environment is made when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format lint types layers quick bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,train,report,demo,dev]'
	touch $(READY)

demo: $(READY)  ## enrolls and identifies two people of public-domain portraits, offline
	$(BIN)/python examples/demo.py

test: $(READY)  ## everything that can run on this machine
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" -n auto --maxprocesses 8 --dist worksteal --durations=25

quick: $(READY)  ## the tests that need neither real data nor patience
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: lint types layers test  ## what a change must pass

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

bench: $(READY)  ## the numbers of the README: make bench MODEL=model.onnx
	$(BIN)/python benchmarks/detect.py
	$(BIN)/python benchmarks/index.py
	$(BIN)/python benchmarks/verification.py
	$(BIN)/python benchmarks/templates.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/evaluate.py $(if $(MODEL),--model $(MODEL))
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/partial_fc.py
	$(BIN)/python benchmarks/recognize.py $(if $(MODEL),--model $(MODEL))

clean:
	rm -rf $(VENV) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
