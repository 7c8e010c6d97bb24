# Everything a person types. `make` lists the targets; CI calls the same ones.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
TEST_JOBS ?= 2
DEMO := config/recipes/demo.yaml
RECIPE ?= $(DEMO)
RUN ?= results/demo
PHASE ?= 1
OUT ?= results/compare
DEVICE ?= auto
BENCH ?= --page docs/speed.md
WHICH ?= newest
MODEL ?= results/demo/publish/squad/model
PORT ?= 8000
HELD_OUT ?= $(firstword $(wildcard $(RUN)/encode/phase$(PHASE)/held_out.json $(RUN)/shard/phase$(PHASE)/held_out.json))

.PHONY: help setup demo test test-all lint format schema plan inspect evaluate compare predict try bench report snakemake-report dag docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

# The stamp is newer than what it was made from, so a second call does nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

setup: $(VENV)/.installed ## make .venv with the exact versions of constraints.txt

demo: setup ## the whole pipeline on the demo recipe, to results/demo/report/report.html
	$(SNAKEMAKE) --configfile $(DEMO)

test: setup ## the tests, some minutes on two cores
	$(BIN)/python -m pytest -n $(TEST_JOBS) -m "not slow"

test-all: setup ## the tests and the slow ones
	$(BIN)/python -m pytest -n $(TEST_JOBS)

lint: setup ## ruff, snakefmt, snakemake --lint, mypy, and the schema in step with the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile $(DEMO)
	$(BIN)/mypy
	$(BIN)/python -m bert.recipe --check

format: setup ## let ruff and snakefmt format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

schema: setup ## write workflow/schemas/config.schema.json from the config classes
	$(BIN)/python -m bert.recipe

plan: setup ## jobs, disk, memory and time of a recipe (RECIPE=..., PLAN="--cores 64"), nothing started
	$(BIN)/python scripts/plan.py --recipe $(RECIPE) $(PLAN)

inspect: setup ## what training sees (RUN=results/demo PHASE=1 [OTHER=results/b]): masks as text, rules checked
	$(BIN)/python scripts/examine.py --config $(RUN)/config/examine.json --phase $(PHASE) \
	    --phase-config $(RUN)/config/pretrain.phase$(PHASE).json --vocab $(RUN)/vocab \
	    --shards $(RUN)/shard/phase$(PHASE)/[0-9]*.json \
	    $(if $(OTHER),--compare $(OTHER)/shard/phase$(PHASE)/[0-9]*.json)

evaluate: setup ## held-out losses of checkpoints (RUN=results/demo PHASE=1 WHICH=newest|all|<step> [HELD_OUT=...])
	$(BIN)/python scripts/evaluate.py --config $(RUN)/config/evaluate.json \
	    --runtime $(RUN)/config/runtime.json --running $(RUN)/pretrain/phase$(PHASE) \
	    --which $(WHICH) --held-out $(HELD_OUT) \
	    --output $(RUN)/evaluate/phase$(PHASE)/checkpoints.json

compare: setup ## curves and equality of runs (RUN="results/a results/b" [OUT=results/compare])
	$(BIN)/python -m bert.report.compare $(RUN) --output $(OUT)

predict: setup ## answers of a published model (MODEL=results/demo/publish/squad/model INPUT=a.jsonl OUTPUT=b.jsonl)
	$(BIN)/python scripts/predict.py --model $(MODEL) --input $(INPUT) --output $(OUTPUT)

try: setup ## a published model as a page in the browser (MODEL=results/demo/publish/squad/model [PORT=8000])
	$(BIN)/python scripts/serve.py --model $(MODEL) --port $(PORT)

bench: setup ## the training step beside its peers (DEVICE=auto BENCH="--cases large-128 --rounds 3"), to docs/speed.md
	$(BIN)/python benchmarks/training/run.py --device $(DEVICE) $(BENCH)

report: setup ## the report page of a recipe (RECIPE=...), and what it needs
	$(SNAKEMAKE) --configfile $(RECIPE)

snakemake-report: setup ## Snakemake's own report of a recipe, report.zip
	$(BIN)/snakemake --configfile $(RECIPE) --report report.zip

dag: setup ## the graph of the stages as docs/rulegraph.dot
	$(BIN)/snakemake --configfile $(DEMO) --rulegraph > docs/rulegraph.dot

docs: schema dag ## what is generated in docs/ and the schema

clean: ## remove the demo's results, nothing else
	rm -rf results/demo
