# godwit: `make demo` shows it, `make test` proves it. Needs Python 3.11 or newer, git and make; the rest is installed into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
SMALL := server,agent,examples
LARGE := Ray and PyTorch are large: minutes the first time; 
DASHBOARD := control_plane/godwit/control_plane/dashboard/static/index.html
DASHBOARD_SOURCES := $(shell find control_plane/dashboard -type d \( -name node_modules -o -name build -o -name __pycache__ \) -prune \
	-o -type f ! -name schema.ts ! -name '*.md' -print)

.PHONY: help demo demo-migrate test e2e drills partitions chaos compose-test nightly explore check fuzz audit sbom bench dashboard browser clean
.NOTPARALLEL:

help:
	@echo "make demo    a real training job survives the loss of a node (under 3 minutes once installed)"
	@echo "make demo-migrate  a real training job grows, loses a node and moves to another cloud while it trains"
	@echo "make test    the test suite, but for whole journeys (under 12 minutes once installed)"
	@echo "make e2e     whole journeys: fleets of processes, real Ray, real models, networks that break"
	@echo "make drills  every fault that agents know, on a real fleet with jobs on it (minutes)"
	@echo "make partitions  many seeded schedules of cuts between hosts in network namespaces (root; a quarter of an hour)"
	@echo "make chaos   processes of a whole fleet are killed at random for ten minutes, while jobs run"
	@echo "make compose-test  build the images and run docker-compose.yml in a container engine (minutes)"
	@echo "make nightly the simulation on 2,000 seeds, and 10,000 faults between godwit and clouds (hours)"
	@echo "make explore the properties of the planner, the domain, the simulation and the API on new random examples"
	@echo "make check   format, lint, types, layers"
	@echo "make audit   known holes in what godwit stands on (asks databases on the network)"
	@echo "make sbom    what a release is made of, as CycloneDX, in dist/"
	@echo "make fuzz    readers of strangers' input against made-up input, a minute each (FUZZ_S=60)"
	@echo "make bench   the figures that docs and decisions quote"
	@echo "make dashboard  build the dashboard that the control plane serves (make demo and make test do it too)"
	@echo "make clean   remove .venv and caches"

# The demo shows the fleet, with or without its pictures.
demo: $(VENV)/installed-demo
	@$(MAKE) --silent $(DASHBOARD) || echo "going on without the dashboard"
	@$(BIN)/python examples/digits/demo.py

demo-migrate: $(VENV)/installed-demo
	@$(BIN)/python examples/digits/move.py

# One process waits for Ray most of the time, so that two cores have work for three. Tests start a hundred processes:
# what these import is compiled once, even where nothing else leaves compiled files behind.
test: $(VENV)/installed-dev $(DASHBOARD) browser
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadgroup --durations=15 -m "not e2e and not drills and not partitions and not chaos and not compose"

# A real Ray has the machine to itself: it gives up a start that takes longer than 30 s.
e2e: $(VENV)/installed-dev $(DASHBOARD)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 1 --durations=15 -m "e2e and ray and not drills and not partitions and not chaos" \
		tests/agents tests/end_to_end tests/network
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadgroup --durations=15 -m "e2e and not ray and not drills and not partitions and not chaos" \
		tests/agents tests/end_to_end tests/network

drills: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -s -m drills tests/end_to_end

partitions: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -n 4 -rP -m partitions tests/network

# GODWIT_CHAOS_SEED, GODWIT_CHAOS_MINUTES: which kills, and for how long.
chaos: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -s -m chaos tests/chaos

compose-test: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -rs -m compose tests/compose

# A failure prints its seed, and the command that repeats it.
nightly: $(VENV)/installed-dev
	@GODWIT_SIMULATION_SEEDS=$${GODWIT_SIMULATION_SEEDS:-2000} GODWIT_LEAK_FAULTS=10000 \
		$(BIN)/python -m pytest -n 2 --timeout=3600 tests/simulation tests/leaks

explore: $(VENV)/installed-dev
	@$(BIN)/python -m pytest -n 2 --hypothesis-profile=explore tests/scheduler tests/domain tests/simulation \
		tests/control_plane/test_description.py tests/control_plane/test_remembered.py

# Atheris guides it by coverage; what it finds is written here as crash-<hash>.
FUZZ_S ?= 60
fuzz: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@for target in specification kernel_log archive manifest; do \
		echo "== fuzzing $$target for $(FUZZ_S) s"; $(BIN)/python -m tests.fuzzing $$target $(FUZZ_S) || exit 1; done

audit: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[audit]' || true
	@$(BIN)/python -m deploy.supply.audit

sbom: $(VENV)/installed-dev
	@$(BIN)/python -m deploy.supply.sbom dist/godwit.cdx.json

check: $(VENV)/installed-dev
	@echo "== format"; $(BIN)/ruff format --check .
	@echo "== lint"; $(BIN)/ruff check .
	@echo "== types"; $(BIN)/mypy
	@echo "== types of the dashboard"; $(BIN)/python control_plane/dashboard/build.py --check
	@echo "== layers"; $(BIN)/lint-imports

bench: $(VENV)/installed-dev
	@$(BIN)/python -m benchmarks

# Its types come from the API's own description: the control plane is enough for that.
dashboard: $(VENV)/installed-server $(DASHBOARD)

$(DASHBOARD): $(DASHBOARD_SOURCES) | $(BIN)/python
	@echo "== building the dashboard"
	@$(BIN)/python control_plane/dashboard/build.py
	@touch $@

# The tests of the dashboard look at it in a real browser, which no package of Python brings.
browser:
	@command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "== installing chromium, in which the dashboard is tested"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y \
		--no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 || true; fi
	@command -v chromium >/dev/null || echo "there is no chromium here, and it could not be installed (that takes root and apt-get):" \
		"the tests of the dashboard in a browser are left out" >&2

clean:
	rm -rf $(VENV) $(dir $(DASHBOARD)) $(addprefix control_plane/dashboard/,node_modules build src/api/schema.ts) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps carry the time of the last good installation, so pip runs again only after pyproject.toml changed.
# A larger set holds the smaller ones: whoever has run the tests need not install anything for the demo.
$(VENV)/installed-dev: pyproject.toml $(BIN)/python
	@$(call install,dev,$(LARGE))
	@touch $@ $(VENV)/installed-demo $(VENV)/installed-server

$(VENV)/installed-demo: pyproject.toml $(BIN)/python
	@$(call install,$(SMALL),$(LARGE))
	@touch $@ $(VENV)/installed-server

$(VENV)/installed-server: pyproject.toml $(BIN)/python
	@$(call install,server)
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "godwit needs Python 3.11 or newer, and no such python3 is on PATH." \
		"Install one, or name it: make PYTHON=/path/to/python3.12 demo" >&2; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment;" \
		"on Debian and Ubuntu, install python3-venv first" >&2; exit 1; }

# pip's own words go to a log; the awk shows what takes long, and ends with pip's exit status.
define install
	echo "== installing godwit[$(1)] ($(2)log: $(VENV)/install.log)"; \
	{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[$(1)]' 2>&1; echo "pip-status $$?"; } \
	| tee $(VENV)/install.log | awk ' \
		/^pip-status/ { exit $$2 } \
		/Downloading .*MB\)/ { sub(/.*\//, "", $$2); print "   downloading " $$2, $$3, $$4; fflush() } \
		/^Collecting / { found += 1; if (found % 25 == 0) { print "   " found " packages looked up"; fflush() } } \
		/^Installing collected/ { print "   unpacking"; fflush() }' \
	|| { tail -n 25 $(VENV)/install.log; echo "the installation failed; the whole log is $(VENV)/install.log" >&2; exit 1; }
endef
