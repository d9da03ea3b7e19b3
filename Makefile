# make run   installs the daemon into .venv and runs it with config.yaml
# make test  installs the rest and runs ruff, mypy and pytest
# make generated  writes anew what is made from the program: JSON Schema, shell completion, manual page
# make audit asks a public database for known holes in all that is installed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := deploy/constraints.txt

# Where the package python3-venv is missing, a part of the environment stands nevertheless: it must not pass for a whole one the next time.
.DELETE_ON_ERROR:

.PHONY: run install test install-test generated audit clean

run: install
	$(BIN)/xiaod --config config.yaml

install: $(VENV)/.installed

install-test: $(VENV)/.installed-test

test: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[distill,test]'
	touch $@ $(VENV)/.installed

generated: install-test
	$(BIN)/python -m xiaod.generated

# In an environment of its own: what audits is not among what is audited.
audit: $(VENV)/.installed
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip freeze --exclude-editable | .venv-audit/bin/pip-audit --no-deps --disable-pip --requirement /dev/stdin

clean:
	rm -rf $(VENV) .venv-audit build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
