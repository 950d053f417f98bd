# `make run` and `make test` set up everything they need in .venv; all they ask for is Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help run test system faults image wheelhouse check lint types fmt gen lock fresh bench clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(BIN)/.run ## the bridge with the embedded NATS broker; prints the URL to post to
	@$(BIN)/webhook-bridge serve

test: $(BIN)/.dev ## all tests that need Python alone, real brokers included
	@$(BIN)/python -m pytest -n 2

system: wheelhouse $(BIN)/.system ## image, chart, Kubernetes: installs what it needs with apt and Go
	@tests/system/setup.sh
	@$(BIN)/python -m pytest -m system

faults: $(BIN)/.dev ## brokers, disks and the bridge killed, frozen, cut off and full, as root: what became of every event
	@tests/faults/setup.sh
	@$(BIN)/python -m pytest -q -s -p no:randomly -m "" -k test_row_ tests/faults
	@SIMULATION_SCHEDULES=2000 $(BIN)/python -m pytest -q -m "" -n 2 tests/simulation
	@FUZZ_EXAMPLES=200 $(BIN)/python -m pytest -q tests/server/test_fuzz_surface.py

IMAGE ?= webhook-bridge
IMAGE_ARCH ?= $(patsubst arm64,aarch64,$(shell uname -m))
BUILDER ?= docker
WHEELS_FOR := --no-deps --implementation cp --python-version 3.11 $(foreach libc,17 28,--platform manylinux_2_$(libc)_$(IMAGE_ARCH))

image: wheelhouse ## the container image, built from fetched wheels without a network (BUILDER=podman, IMAGE=name:tag)
	@$(BUILDER) build --network=none --tag $(IMAGE) .

wheelhouse: $(BIN)/.run ## what the image installs, by its hashes, into ./wheelhouse
	@rm -rf wheelhouse
	@for name in build image; do \
	  $(PIP) download --require-hashes --dest wheelhouse $(WHEELS_FOR) -r requirements/$$name.txt || exit 1; done

check: lint types test system faults ## what CI runs

lint: $(BIN)/.dev ## format, lint, import rules, generated files fresh
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.generated --check

types: $(BIN)/.dev ## mypy, strict
	@$(BIN)/mypy

fmt: $(BIN)/.dev ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

gen: $(BIN)/.dev ## write all derived files: schemas, README tables, .env.example, the chart's and, with helm, its manifests
	@$(BIN)/python -m tests.generated
	@$(BIN)/python -m tests.system.goldens

lock: $(BIN)/.dev ## resolve the dependencies again into requirements/ (hashes, no index addresses)
	@$(COMPILE) --group pyproject.toml:build pyproject.toml -o requirements/run.txt
	@$(COMPILE) --group pyproject.toml:dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@$(COMPILE) --group pyproject.toml:build -c requirements/dev.txt -o requirements/build.txt
	@$(COMPILE) --group pyproject.toml:system -c requirements/dev.txt -o requirements/system.txt
	@$(COMPILE) --extra compression -c requirements/dev.txt pyproject.toml -o requirements/image.txt

bench: $(BIN)/.dev ## what an event costs beside the least it could cost; ARGS="--help" lists options
	@$(BIN)/python -m tests.bench $(ARGS)

fresh: ## both README commands in a fresh clone in an empty folder
	@tests/fresh.sh

clean:
	rm -rf .venv data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/.run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; try: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || { echo "setting up .venv (once, about half a minute)"; $(PYTHON) -m venv .venv; }
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/.dev: $(BIN)/.run requirements/dev.txt
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(BIN)/.system: $(BIN)/.dev requirements/system.txt
	@$(PIP) install --require-hashes -r requirements/system.txt
	@touch $@
