# Every target does its own set-up: a checkout, make and a Python of 3.11 or newer with pip are enough.
#
#   make demo    make test    make help    make test PYTHON=python3.13

IS_SUITABLE := 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
# The first of these that runs, is new enough and can make environments; `python3` when none does, so that the
# message of check-python has something to speak about.
ifeq ($(origin PYTHON), undefined)
PYTHON := $(or $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c $(IS_SUITABLE) >/dev/null 2>&1 && echo $$name && break; done),python3)
endif

VENV := .venv
BIN := $(VENV)/bin
# An environment belongs to one interpreter and one folder; the names of its stamps say which, so that another
# PYTHON or a moved checkout builds a new one.
KEY := $(shell { command -v $(PYTHON); $(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)'; pwd; } 2>/dev/null \
	| cksum | cut -d' ' -f1)
DEV := $(VENV)/.dev-$(KEY)
DEMO := $(VENV)/.demo-$(KEY)
PYTHON_BACKOFF := $(abspath $(VENV)-python-backoff)
AIRFLOW := $(VENV)-airflow/.ready-$(KEY)
# dev.txt holds all of demo.txt in the same versions.
READY_FOR_DEMO := $(if $(wildcard $(DEV)),$(DEV),$(DEMO))

PYTEST_ARGS ?=
# More than there are cores: many tests wait for processes that they have started.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(max(2, 3 * (os.cpu_count() or 1) // 2))' 2>/dev/null || echo 2)
AIRFLOW_ARGS ?=
DEMO_ARGS ?=
CHAOS_ARGS ?=
CHAOS_FLEET_ARGS ?=
AUDIT_ARGS ?=
CONTRACT_ARGS ?=
VERSION ?=
MUTANTS_ARGS ?=
# `make lock UPGRADE=--upgrade` takes the newest versions; without it only what pyproject.toml asks for changes.
UPGRADE ?=
# All but `airflow`, whose pins would hold back everything else. `=`, so that only `make lock` asks.
DEV_EXTRAS = $(shell $(BIN)/python -c 'import tomllib; file = open("pyproject.toml", "rb"); \
	print(*("--extra " + name for name in tomllib.load(file)["project"]["optional-dependencies"] if name != "airflow"))')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes: each would compile the whole package anew where an environment forbids what Python
# keeps of that.
unexport PYTHONDONTWRITEBYTECODE
# Quiet twice: a folder or index of the machine's own pip configuration that lacks a package is not worth a warning each.
INSTALL := -m pip install --quiet --quiet --progress-bar off
# A source distribution would fetch what it needs to build itself, which no lock covers. Where a package has no wheel
# for this machine: `make demo LOCKED=--require-hashes`.
LOCKED := --require-hashes --only-binary :all:
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test chaos chaos-fleet test-airflow test-python-backoff lint format types bench bench-speed bench-starts bench-waits bench-downloads bench-dashboard build lock clean check-python screenshots bench-fleet audit release-check contract fuzz test-versions test-lowest test-newest docs mutants

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

demo: $(READY_FOR_DEMO) ## start a bulk email against the package's own simulator and watch it (DEMO_ARGS="--leads 50")
	@echo "== closebulk demo: a simulator of the API on this machine; nothing is sent to Close"
	@$(BIN)/closebulk demo $(DEMO_ARGS)

test: $(DEV) ## run the tests with branch coverage and its threshold (PYTEST_ARGS="-k wait")
	@echo "== Tests, with the branch coverage of every process that they start"
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(WORKERS) $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	@rm -f .coverage.*  # half a file of a process that a test killed; coverage has warned of it, once is enough
	$(BIN)/coverage report

# Whatever is here of what the package is for; each has an environment of its own, and `.venv` stays as it is.
PYTHONS ?= $(shell for name in python3.11 python3.12 python3.13 python3.14; do \
	$$name -c $(IS_SUITABLE) >/dev/null 2>&1 && echo $$name; done)

test-versions: ## run `make test` with every Python that is here (PYTHONS="python3.12 /opt/python3.13/bin/python3")
	@test -n "$(PYTHONS)" || { echo "no Python of 3.11 or newer was found; name them: make test-versions PYTHONS=..." >&2; exit 1; }
	@for name in $(PYTHONS); do \
		echo "== With $$name"; \
		$(MAKE) --no-print-directory test PYTHON=$$name VENV=$(VENV)-$$(basename $$name) || exit 1; \
	done

# All that the package itself is made of. The page in a browser, the site, the examples and the peers have needs of their
# own.
OF_OTHERS := %_benchmark.py %_benchmarks.py tests/test_pollers.py tests/test_webhook_docs.py tests/dashboard/test_docs_example.py
OF_DEPENDENCIES := tests/wire tests/simulator tests/cli tests/integrations tests/fleet tests/hostile \
	$(filter-out $(OF_OTHERS),$(wildcard tests/dashboard/test_*.py tests/test_*.py))
# The names that pyproject.toml states, in their lowest or newest versions, and the tools of the tests beside them.
RESOLVE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--no-annotate pyproject.toml $(DEV_EXTRAS)

test-lowest: $(DEV) ## run the tests with the lowest version of each dependency that pyproject.toml allows
	@mkdir -p $(VENV)-locks
	@$(RESOLVE) --resolution lowest-direct --output-file $(VENV)-locks/bounds.txt
	@$(RESOLVE) --group tests --constraints $(VENV)-locks/bounds.txt --output-file $(VENV)-locks/lowest.txt
	$(call test_with,lowest)

test-newest: $(DEV) ## run the tests with the newest version of each dependency, whatever the lock says
	@mkdir -p $(VENV)-locks
	@$(RESOLVE) --upgrade --group tests --output-file $(VENV)-locks/newest.txt
	$(call test_with,newest)

define test_with
@$(PYTHON) -m venv --clear $(VENV)-$(1)
@$(VENV)-$(1)/bin/python $(INSTALL) $(LOCKED) --no-deps -r $(VENV)-locks/$(1).txt
@$(VENV)-$(1)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
$(VENV)-$(1)/bin/python -m pytest --numprocesses $(WORKERS) $(OF_DEPENDENCIES) $(PYTEST_ARGS)
endef

mutants: $(DEV) ## change the package in one place at a time, and see whether a test fails (MUTANTS_ARGS="policy --owner PollPolicy.delay")
	@echo "== Changes of the package that no test finds; those of tests/mutants/survivors.toml are known, with the reason"
	$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

chaos: $(DEV) ## kill a thousand processes in the middle of a start, and try many more orders of events than `test`
	@echo "== Killing processes at every line of a start and a wait, each followed by one that recovers"
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)
	@echo "== Starts, faults, crashes and processes in any order"
	STARTS_TRIED=300 HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest --numprocesses 0 tests/test_start_machine.py

chaos-fleet: $(DEV) ## kill and stop the workers of a fleet, and restart its database, in five long runs (needs PostgreSQL)
	$(BIN)/python -m tests.fleet.chaos $(CHAOS_FLEET_ARGS)

bench-fleet: $(DEV) ## measure a fleet: starts, take-over, cost and lateness, and the budget of many processes (needs PostgreSQL)
	$(BIN)/python -m tests.fleet.figures
	$(BIN)/python -m tests.fleet.sharing --kills

bench-starts: $(DEV) ## measure safe starts: second jobs beside the vendor's client, what the journal costs
	$(BIN)/python -m benchmarks starts

bench-waits: $(DEV) ## measure waits: requests and lateness beside the pollers of other SDKs, fleets, memory and CPU
	$(BIN)/python -m benchmarks waits

screenshots: $(DEV) ## make the pictures of the README anew, from a simulator (needs Chromium)
	$(BIN)/python -m tests.browser.screenshots docs/images

bench-downloads: $(DEV) ## measure the memory that the download of a large export takes
	$(BIN)/python -m benchmarks downloads

bench-dashboard: $(DEV) ## measure the dashboard: CPU of its server, and frames of its page in Chromium
	$(BIN)/python -m benchmarks dashboard

# What waits and repeats. backoff is imported in one place, and all else knows nothing of it.
# Not what looks at all that a process says: in development mode asyncio adds which of its steps were slow. Nor what
# computes for seconds: what it tries of waits, shorter tests try as well.
OF_BACKOFF := tests/wire $(filter-out tests/test_plugin.py tests/test_public_surface.py \
	tests/test_readme.py tests/test_without_posix.py, \
	$(wildcard tests/test_p*.py tests/test_w*.py tests/test_start*.py tests/test_r*.py tests/test_downloads.py))

# In development mode, which costs a seventh more: in the other run it would cost minutes. By the environment, so that the
# workers of pytest and the programs that tests start are in it too, and find python-backoff before backoff.
test-python-backoff: $(DEV) ## run the tests of what waits and repeats with python-backoff in the place of backoff
	@echo "== python-backoff in the place of backoff, and Python's development mode"
	@rm -rf $(PYTHON_BACKOFF)
	@$(BIN)/python $(INSTALL) $(LOCKED) --no-deps --target $(PYTHON_BACKOFF) -r requirements/python-backoff.txt
	@PYTHONPATH=$(PYTHON_BACKOFF) $(BIN)/python -c 'import backoff; print("backoff comes from", backoff.__file__); \
		raise SystemExit(not backoff.__file__.startswith("$(PYTHON_BACKOFF)/"))'
	PYTHONPATH=$(PYTHON_BACKOFF) PYTHONDEVMODE=1 PYTHONWARNINGS=error \
		$(BIN)/python -m pytest -m "not unmeasured" --numprocesses $(WORKERS) $(OF_BACKOFF) $(PYTEST_ARGS)

test-airflow: $(AIRFLOW) ## run the tests of the Airflow operator, with an Airflow of their own (AIRFLOW_ARGS="-k kill")
	@echo "== An environment of its own, with Airflow: Dags run in its processes, which are killed"
	$(VENV)-airflow/bin/python -m pytest --numprocesses 0 tests/airflow $(AIRFLOW_ARGS)

fuzz: $(DEV) ## try many more hostile answers than `test` does
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest --numprocesses $(WORKERS) tests/hostile

contract: $(DEV) ## read your own Close account, and report what holds there (CLOSE_CONTRACT_KEY; CONTRACT_ARGS="--contract-report report.md")
	$(BIN)/python -m pytest tests/contract --numprocesses 0 --contract-live $(CONTRACT_ARGS)

lint: $(DEV) ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV) ## let ruff format and fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The environment is first in PATH because pyright looks for the interpreter, and with it for the packages, there.
types: $(DEV) ## mypy and pyright, both strict, and whether every public name has a type
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.completeness

bench: bench-speed bench-starts bench-waits bench-downloads bench-dashboard ## measure everything (needs nginx and Chromium)

bench-speed: $(DEV) ## measure side by side with other clients (needs nginx)
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { \
		echo "make bench-speed serves its pages with nginx, which is not here. On Debian: apt-get install nginx-light" >&2; exit 1; }
	$(BIN)/python -m benchmarks

docs: $(DEV) ## build the site of this documentation in build/docs; what Sphinx warns of is an error
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/docs

build: $(DEV) ## make the sdist and the wheel in dist/, and look at what is in them
	@rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m tests.distributions dist

audit: $(DEV) ## ask whether a vulnerability is known of anything that requirements/*.txt locks (AUDIT_ARGS=--complete)
	@$(BIN)/python -m tests.release.audit $(AUDIT_ARGS)

# The cheap answers first. The gate builds, installs the wheel in an environment of its own and runs the demo there.
release-check: $(DEV) ## what a release needs but its upload and the longest runs (VERSION=1.2.3 where there is no tag yet)
	@echo "== Release: the tree, the tag, the version and CHANGELOG.md"
	@$(BIN)/python -m tests.release.ready $(if $(VERSION),--version $(VERSION))
	@echo "== Release: known vulnerabilities; each package has to be answered for"
	@$(MAKE) --no-print-directory audit AUDIT_ARGS="--complete $(AUDIT_ARGS)"
	@echo "== Release: the gate"
	@.ci/run
	@echo "== Release: the site"
	@$(MAKE) --no-print-directory docs
	@echo "== Release: the files"
	@$(MAKE) --no-print-directory build
	@$(BIN)/python -m tests.release.ready $(if $(VERSION),--version $(VERSION))
	@sha256sum dist/*
	@version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' closebulk_async/version.py); \
		echo "Not a part of this: test-versions, test-lowest, test-newest, fuzz, chaos, chaos-fleet, mutants (docs/releasing.md)"; \
		echo "What is left to do (the first where there is no tag yet):"; \
		echo "  git tag --sign v$$version --message v$$version && git push origin v$$version"; \
		echo "  $(BIN)/uv publish dist/*"

lock: $(DEV) ## resolve requirements/*.txt again from pyproject.toml
	$(COMPILE) pyproject.toml $(DEV_EXTRAS) --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra cli --group build --constraints requirements/dev.txt --output-file requirements/demo.txt
	$(COMPILE) --group pyproject.toml:python-backoff --output-file requirements/python-backoff.txt
	$(COMPILE) pyproject.toml --extra airflow --extra testing --group airflow-tests --output-file requirements/airflow.txt

clean: ## remove environments, caches and builds
	rm -rf $(VENV) $(VENV)-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find closebulk_async tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

check-python:
	@$(PYTHON) -c $(IS_SUITABLE) >/dev/null 2>&1 || { \
		echo "This needs Python 3.11 or newer with the modules venv and ensurepip; tried: $(PYTHON)" \
			"($$($(PYTHON) --version 2>&1))." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3 python3-venv. Or say which one: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; }

# All rules begin with an empty environment: what an older lock installed must not linger.
$(DEV): requirements/dev.txt pyproject.toml | check-python
	@echo "== Making $(VENV) with $$($(PYTHON) --version): what requirements/dev.txt locks, and this package, editable"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python $(INSTALL) $(LOCKED) -r requirements/dev.txt
	@$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEMO): requirements/demo.txt pyproject.toml | check-python
	@echo "== Making $(VENV) with $$($(PYTHON) --version): what requirements/demo.txt locks, and this package, editable"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python $(INSTALL) $(LOCKED) -r requirements/demo.txt
	@$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(AIRFLOW): requirements/airflow.txt pyproject.toml | check-python
	@echo "== Making $(VENV)-airflow with $$($(PYTHON) --version): what requirements/airflow.txt locks, and this package, editable"
	@$(PYTHON) -m venv --clear $(VENV)-airflow
	@$(VENV)-airflow/bin/python $(INSTALL) $(LOCKED) -r requirements/airflow.txt
	@$(VENV)-airflow/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
