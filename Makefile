# make run   installs the daemon into .venv and runs it with config.yaml; PYTHON=python3.12 takes another Python
# make test  installs the rest and runs ruff, mypy, import contracts and pytest
# make generated  writes config.yaml and the JSON Schema from the models of the configuration
# make measurements  measures the shipped networks anew and writes all numbers of README, cards and docs (needs XIAO_SHARED, hours)
# make texts puts the numbers that were measured into README, cards and docs
# make pictures takes those of the README anew (needs chromium)
# make notebook runs docs/library.ipynb and writes what its cells give into it
# make dist  builds dist/xiaod-VERSION.tar.gz, and from it the wheel, dist/xiaod-VERSION-py3-none-any.whl
# make deb   builds dist/xiaod_VERSION_ARCH.deb of that wheel, for the Debian that it runs on (DEB="--arch arm64 --wheels DIR" for another machine)
# make audit asks a public database for known vulnerabilities in all that is installed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := deploy/constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)
# What tells one Python from another, for an environment that was made by it and for itself.
WHICH := import sys; print(sys.base_prefix, *sys.version_info[:2])

# Where the package python3-venv is missing, a part of the environment stands nevertheless: it must not pass for a whole one the next time.
.DELETE_ON_ERROR:

.PHONY: pictures notebook run install environment anew test install-test generated measurements texts dist deb audit clean

run: install
	$(BIN)/xiaod --config config.yaml

# The environment may be made anew before: what is installed in it is looked at only then.
install: environment
	@$(MAKE) -s --no-print-directory $(VENV)/.installed

install-test: environment
	@$(MAKE) -s --no-print-directory $(VENV)/.installed-test

test: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

# One that is there stays, unless its Python is gone or too old, or another one is asked for with PYTHON=.
environment:
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && { [ "$(origin PYTHON)" = file ] || [ "$$($(BIN)/python -c '$(WHICH)')" = "$$($(PYTHON) -c '$(WHICH)')" ]; } \
	    || $(MAKE) --no-print-directory anew

anew:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "Python 3.11 or newer is needed, and %s is %d.%d: make run PYTHON=python3.12, or another that is new enough" \
	    % (sys.executable, *sys.version_info[:2]))'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV): some minutes the first time"
	$(PIP) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV), with torch and SeisBench: many minutes the first time"
	$(PIP) -e '.[distill,test]'
	touch $@ $(VENV)/.installed

generated: install-test
	$(BIN)/xiaod schema > xiaod/config/config.schema.json
	$(BIN)/python -m xiaod.tools.init.text > config.yaml

measurements: install-test
	$(BIN)/python -m distill.measure --report runs/report

texts: install-test
	$(BIN)/python -m distill.measure --texts

pictures: install-test
	$(BIN)/python -m tests.pictures

notebook: install-test
	MPLBACKEND=Agg $(BIN)/python -m tests.notebooks

# The wheel is built from the sdist, in a folder of its own: what an earlier build has left here does not get into it.
dist:
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check build
	.venv-dist/bin/python -m build --outdir dist

deb: dist
	deploy/deb/build.sh $(DEB) "$$(ls -t dist/xiaod-*.whl | head -n 1)"

# In an environment of its own: what audits is not among what is audited.
audit: install
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip freeze --exclude-editable | .venv-audit/bin/pip-audit --no-deps --disable-pip --requirement /dev/stdin

clean:
	rm -rf $(VENV) .venv-audit .venv-dist build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
