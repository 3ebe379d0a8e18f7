# Creates a virtual environment and works in it; nothing else needs to be installed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# One thread per process: on a busy machine more threads wait for each other.
export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := check
.PHONY: setup compare stability recipes test test-fast check lint types reference docs tutorial site fix golden golden-run bench race memory anchors atlas coverage faults soak dist pythons

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $@

setup: $(READY)  ## the virtual environment .venv

compare: $(READY)  ## GRU, LSTM and RNN on Python's own source: quality, memory and cost
	$(BIN)/charlm compare-cells --out comparison

stability: $(READY)  ## docs/explanation/stability.md: the comparison again, everything random redrawn: hours
	$(BIN)/python scripts/stability.py

recipes: $(READY)  ## the search of docs/explanation/recipes.md, hours: make recipes TEXT=name=path
	$(BIN)/python scripts/recipes.py --text "$(TEXT)" --out docs/explanation/recipes/runs.csv

test: $(READY)  ## every test, on every core
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-fast: $(READY)  ## every test but the slow ones: about a minute on 2 cores
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python scripts/reference.py --check
	$(COG) --check $(GENERATED)

types: $(READY)
	$(BIN)/mypy

check: lint types test

reference: $(READY)  ## docs/reference, from the code
	$(BIN)/python scripts/reference.py

COG = $(BIN)/python -m cogapp -I scripts -p "from docs_blocks import *"
GENERATED = README.md docs/tutorial/*.md docs/guides/publish.md docs/explanation/comparison.md docs/explanation/eight-cells.md docs/reference/reliability.md

docs: reference  ## the generated parts of README and docs
	$(COG) -r $(GENERATED)

tutorial: $(READY)  ## run the commands of the tutorial and record what they print: minutes
	$(BIN)/python scripts/docs_record.py
	$(MAKE) docs

site: $(READY)  ## the documentation as a website, in site/
	$(BIN)/pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fix: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: $(READY)  ## record the golden losses again: never in CI, and the commit says why
	CHARLM_GOLDEN=write $(BIN)/python -m pytest tests/models/test_golden.py

golden-run: $(READY)  ## golden runs of a new format of run directories, once per released format
	$(BIN)/python scripts/golden_run.py

bench: $(READY)  ## speed against the plain torch.nn loop; encoding of 2 GB: minutes
	$(BIN)/python scripts/bench.py
	$(BIN)/python scripts/measure_encoding.py

race: $(READY)  ## tiny Shakespeare by CPU time, see docs/explanation/race.md: make race CORPUS=path
	$(BIN)/python scripts/race.py --corpus "$(CORPUS)"

memory: $(READY)  ## how far cells reach: curricula of adding and copy, see docs/explanation/memory.md
	$(BIN)/charlm tasks compare adding --lengths 10,20,50 --cells gru,lstm,rnn \
	  --params 10600 --embedding-dim 8 --max-steps 600 --out memory/adding
	$(BIN)/charlm tasks compare copy --lengths 1,2,3,5,10 --cells gru,lstm,rnn \
	  --params 10600 --embedding-dim 8 --max-steps 500 --out memory/copy

ANCHORS = parity a5 flip-flop
SHAKESPEARE = $(if $(CORPUS),compressors nanogpt --text compressors=$(CORPUS) --text nanogpt=$(CORPUS))
anchors: $(READY)  ## docs/anchors.md: published numbers again, hours: make anchors CORPUS=path
	mkdir -p anchors
	test -e anchors/report.json || cp docs/anchors.json anchors/report.json
	$(BIN)/charlm reproduce $(ANCHORS) $(SHAKESPEARE) --out anchors --markdown > anchors.md
	mv anchors.md docs/anchors.md
	cp anchors/report.json docs/anchors.json

atlas: $(READY)  ## docs/atlas.md: every cell on a text and on tasks: hours
	for size in 15000 100000; do for block in none residual; do \
	  $(BIN)/python scripts/atlas.py text --params $$size --block $$block || exit 1; done; done
	$(BIN)/python scripts/atlas.py tasks

coverage: $(READY)  ## how often intervals hold the truth: simulation, minutes
	$(BIN)/python scripts/coverage.py

SCALE ?= 0.1
faults: $(READY)  ## inject faults, a tenth of all trials: at most 40 minutes on 2 cores; SCALE=1 does and records all
	$(BIN)/python scripts/run_faults.py --scale $(SCALE)

soak: $(READY)  ## memory and descriptors of an hour of training
	PYTHONPATH=scripts $(BIN)/python scripts/faults/soak.py 60

dist: $(READY)  ## dist/: the wheel and the source distribution that it is built from
	$(BIN)/python -m build --no-isolation --outdir dist

pythons:  ## the fast tests with other Pythons: make pythons PYTHONS="python3.12 python3.13"
	for python in $(PYTHONS); do \
	  $(MAKE) test-fast PYTHON="$$python" VENV=".venv-$$(basename "$$python")" || exit 1; done

.PHONY: pages
pages: $(READY)  ## every page in the browser at two widths, each light and dark
	CHARLM_VIEWS=all CHARLM_BROWSER=required $(BIN)/python -m pytest tests/reporting/test_html_pages.py
