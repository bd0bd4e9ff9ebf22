# The few commands of a contributor, after `make setup`. uv makes and updates the environment by itself.
PYTHON ?= python
# The program first: an activated environment has a python of its own, without uv.
UV ?= $(or $(shell command -v uv 2>/dev/null),$(PYTHON) -m uv)
RUN = $(UV) run

.DEFAULT_GOAL := help
.PHONY: help setup test coverage lint format types docs site build check ci clean

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

setup: ## Install uv and everything else, and the hooks of pre-commit
	$(PYTHON) -m pip install uv
	$(UV) sync
	$(RUN) pre-commit install

test: ## Run the tests but storms, soaks, servers and programs; one file: make test ARGS=tests/docs
	$(RUN) pytest $(ARGS)

coverage: ## Run the tests and show what they do not reach
	$(RUN) pytest --cov --cov-report=term-missing --cov-report=json:.coverage.json tests/unit tests/contract
	$(RUN) python tools/check_coverage.py .coverage.json

lint: ## Check style
	$(RUN) ruff check
	$(RUN) ruff format --check

format: ## Mend style
	$(RUN) ruff check --fix
	$(RUN) ruff format

types: ## Check types, also as Windows and macOS have them
	$(RUN) mypy
	$(RUN) mypy --platform win32 src
	$(RUN) mypy --platform darwin src

docs: ## Check the pages and run the code in them
	$(RUN) python tools/check_docs.py
	$(RUN) pytest -m "" tests/docs

site: ## Build the documentation site into site/, from the pages and the docstrings
	rm -rf site
	$(RUN) --group docs sphinx-build -q -W --keep-going -c docs/site . site

build: ## Build the wheel and look into it
	rm -rf dist
	$(UV) build --wheel
	$(RUN) python tools/check_wheel.py dist/*.whl

check: lint types docs test ## Do what should pass before a commit

ci: ## Do all that must pass before a merge
	.ci/run

clean: ## Remove what was built, measured and cached
	rm -rf dist site htmlcov .venv* .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
