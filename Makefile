# What a developer runs; `make` alone prints the list. CI calls the same targets.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
PYTEST := $(PY) -m pytest
PEERS := .bench-packages
PYTEST_ARGS ?=
# One process for all that starts services of its own, the other for the rest.
IN_TWO := -n 2
# Only GNU make 4 can keep the output of parallel checks apart.
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
QUICK_TESTS := $(wildcard tests/unit tests/meta)
LINTED := $(wildcard app worker tests benchmarks .ci)

.DEFAULT_GOAL := help
.PHONY: help run test check types kernels acceptance mutants chaos faults coverage bench catalogue openapi pictures
.PHONY: lock fix clean
.PHONY: check-text check-format check-lint check-types check-imports check-spelling check-dependencies check-tests

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(READY) ## start Redis, workers and API here, run the classic job, keep serving
	@$(VENV)/bin/fitjobs up --demo

test: $(READY) kernels ## run every test; PYTEST_ARGS="-k lease" narrows it, COVERAGE=1 measures
	@$(if $(COVERAGE),$(VENV)/bin/coverage erase && $(VENV)/bin/coverage run -m pytest,$(PYTEST)) $(IN_TWO) $(PYTEST_ARGS)

check: $(READY) ## what to run before a commit: format, lint, types, imports, spelling, quick tests
	@$(MAKE) --no-print-directory -j 2 $(SYNC) check-tests check-text
	@echo "check: all good"

check-text: $(READY) ## the same without the tests
	@$(MAKE) --no-print-directory -j 2 $(SYNC) check-types check-lint check-format check-imports \
		check-spelling check-dependencies

types: $(READY) ## check types a second time, with pyright
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(VENV)/bin/pyright

kernels: $(READY) ## compile the update rules for this machine (some minutes, once); workers do it by themselves
	@$(PY) -m worker.compile --all-cores

acceptance: $(READY) kernels ## test the real processes: start, submit, stop, kill, restart
	@$(PYTEST) tests/acceptance $(PYTEST_ARGS)

mutants: $(READY) ## break the store's scripts in 78 ways: the state machine must see each (5 to 20 min)
	@$(PYTEST) tests/store/mutants.py --timeout 600 $(PYTEST_ARGS)

chaos: $(READY) ## kill, freeze and cut everything at random for 10 minutes: SECONDS=60 SEED=7
	@$(PY) -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

faults: $(READY) ## measure the fault table of docs/reliability.md: half an hour, or ROWS="deploy keys"
	@$(PY) -m tests.chaos.faults $(ROWS)

coverage: $(READY) ## `make test`, measuring branches in all processes; fails below 95 %
	@$(MAKE) --no-print-directory test COVERAGE=1
	@$(VENV)/bin/coverage combine --quiet
	@$(VENV)/bin/coverage report

bench: $(READY) $(PEERS)/ready ## measure beside the peers: QUICK=1, PARTS="one_run sweeps", JSON=FILE, PAGE=1
	@PYTHONPATH=$(PEERS) $(PY) -m benchmarks $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON)) \
		$(if $(PAGE),--page docs/performance.md) $(PARTS)

catalogue: $(READY) ## rewrite app/domain/catalogue.json from the installed torch
	@$(PY) -m worker.catalogue

openapi: $(READY) ## rewrite docs/openapi.json from the routes
	@$(PY) .ci/openapi.py

pictures: $(READY) ## redraw docs/img by asking the service that runs here, see FITJOBS_URL
	@$(PY) .ci/pictures.py

lock: $(READY) ## resolve all dependencies afresh and rewrite requirements.lock
	@echo "lock: resolving, a minute or two"
	@$(PY) .ci/lock.py

fix: $(READY) ## let ruff mend and format what it can
	@$(VENV)/bin/ruff check --fix $(LINTED)
	@$(VENV)/bin/ruff format $(LINTED)

clean: ## remove the environment, caches and reports; jobs in .fitjobs stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@rm -rf .coverage .coverage.* coverage.xml dist build $(PEERS)
	@find . -name __pycache__ -prune -exec rm -rf {} +

check-format:
	@$(VENV)/bin/ruff format --check --quiet $(LINTED)
	@echo "check: format"

check-lint:
	@$(VENV)/bin/ruff check --quiet $(LINTED)
	@echo "check: lint"

check-types:
	@$(VENV)/bin/mypy --no-error-summary
	@echo "check: types"

check-imports:
	@$(VENV)/bin/lint-imports --no-logo > .lint-imports.out 2>&1 || { cat .lint-imports.out; rm -f .lint-imports.out; exit 1; }
	@rm -f .lint-imports.out
	@echo "check: imports"

check-spelling:
	@$(VENV)/bin/codespell
	@echo "check: spelling"

check-dependencies:
	@$(VENV)/bin/deptry . > .deptry.out 2>&1 || { cat .deptry.out; rm -f .deptry.out; exit 1; }
	@rm -f .deptry.out
	@echo "check: dependencies"

check-tests:
	@$(PYTEST) -q -n 2 -m "not slow" $(QUICK_TESTS)

$(READY): requirements.lock pyproject.toml
	@sh .ci/venv $(VENV)
	@touch $@

# JAX, scipy and scikit-learn in a folder of their own; without them their rows say so.
$(PEERS)/ready: benchmarks/requirements.lock $(READY)
	@echo "bench: installing $$(grep -c '==' $<) packages of the peers in $(PEERS)"
	@rm -rf $(PEERS)
	@if $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --target $(PEERS) -r $<; then touch $@; \
		else echo "bench: they cannot be installed, so their rows will say so"; fi
