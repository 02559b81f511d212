# Needs make and Python >= 3.11 with venv and pip; nothing is installed outside .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help fuzz test lint check compile native-test bench quality mutants storm disturbed soak coverage live-test lock clean

# The first that runs and is new enough; `make PYTHON=...` decides otherwise.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(name))) python3)

KERNEL ?= v7.3
FOR ?= 20s
CAMPAIGN ?= campaign

BIN := .venv/bin
READY := .venv/ready
PIP := -m pip --disable-pip-version-check
UV := uv==0.13.9
LOCK := .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes \
	--custom-compile-command "make lock"

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

fuzz: $(READY) ## search kernel v7.3 for 20 s in campaign/, then list the findings
	@$(BIN)/gff fuzz --kernel $(KERNEL) --for $(FOR) --campaign $(CAMPAIGN) || test $$? -eq 1

test: $(READY) ## every test that needs no QEMU, and every corpus case
	@$(BIN)/python -m pytest -m "not live and not native" --numprocesses auto --dist worksteal

lint: $(READY) ## formatting, lint, types, import rules
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check: lint test ## lint and test

compile: $(READY) ## machine code of the source here, for the workers of campaigns; a minute or two, a C compiler
	@$(BIN)/gff compile

native-test: $(READY) ## compile, or say what is missing, and hold it against the source
	@$(BIN)/gff compile
	@$(BIN)/python -m pytest -m native --numprocesses auto || exit 1 # 3 is what is missing

bench: $(READY) ## how fast it is here; figures to bench.json
	@$(BIN)/gff bench --save bench.json

quality: $(READY) ## cases to find each known-bad kernel, guided and unguided; 30 minutes at most
	@$(BIN)/gff quality --results quality.jsonl

mutants: $(READY) ## what judges, changed in one place after the other: what no test sees; some 20 minutes
	@$(BIN)/python -m tests.mutants

storm: $(READY) ## kill -9 a running campaign 200 times, and see that nothing is lost; 10 minutes
	@$(BIN)/python -m tests.kill_storm 200

disturbed: $(READY) ## an hour with a worker that crashes, hangs and leaks, beside one without
	@$(BIN)/python -m tests.disturbed 60 2

soak: $(READY) ## an hour of cases with memory errors and injected errors on a real kernel
	@$(BIN)/gff live conform --inject --for 1h

coverage: $(READY) ## what of emu/kvm no corpus case reaches
	@$(BIN)/python -m tests.corpus_coverage

live-test: $(READY) ## play cases on a real kernel in QEMU: brings it, or says what is missing
	@$(BIN)/python -m tests.live_test

lock: ## rewrite the requirements from pyproject.toml with the newest versions it allows
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python $(PIP) install -qq $(UV)
	@$(LOCK) --upgrade --extra dev --output-file requirements.txt pyproject.toml
	@$(LOCK) --upgrade --extra dev --extra live --output-file requirements-live.txt pyproject.toml
	@rm -rf .venv-lock

clean: ## remove the environment and the caches; campaigns stay
	@rm -rf .venv .venv-lock .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
		echo "$(PYTHON) is missing or older than Python 3.11: name another with make PYTHON=..." >&2; \
		exit 3; }
	@echo "setting up .venv ($$($(PYTHON) --version)) from requirements.txt" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) install -qq --requirement requirements.txt
	@$(BIN)/python $(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@
