# pmalloc: every target sets up what it needs by itself, in .venv/VERSION.
#
#   make demo                    the GeoNames demo
#   make app, make plugins       a service and a plugin host that are read-only after init
#   make test                    all tests, Python and C
#   make PYTHON=/path/to/python3.12 test     with another Python
#   make help                    the rest
#
# Each recipe asks tools/setup.sh for a ready Python: it makes the environment,
# installs dependencies and builds pmalloc, and does nothing when nothing changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

C_FILES = $(shell find $(wildcard src include tests examples benchmarks) -name '*.c' -o -name '*.h')

.PHONY: help build demo avc app plugins test py-test c-test matrix kernels compat coexist soak bench lint format types docs clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-22s %s\n' "$$name" "$$text"; done

build: ## build pmalloc and print the Python it is installed for
	@tools/setup.sh dev

demo: ## 235,000 cities, frozen: what it costs and what it saves
	@python=$$(tools/setup.sh demo); "$$python" examples/geonames.py

avc: ## the SELinux policy of Debian in a Cell: questions, reloads under load, a rogue write
	@python=$$(tools/setup.sh); policy=$$(tools/selinux-policy.sh) || { [ $$? = 77 ] && exit 0; exit 1; }; \
	PYTHONPATH=examples "$$python" -m selinux_avc "$$policy"

app: ## gunicorn and Flask with post-init data: what workers share, and what stops a write
	@python=$$(tools/setup.sh apps cli); PYTHONPATH=examples "$$python" -m post_init_app

plugins: ## a plugin host with a protected hook table, a late plugin and a rogue
	@python=$$(tools/setup.sh apps); PYTHONPATH=examples "$$python" -m plugin_host

test: c-test py-test ## all tests

py-test: ## the Python tests; ARGS="-k name" chooses
	@python=$$(tools/setup.sh dev); "$$python" -m pytest $(ARGS)

c-test: ## the tests of libpmalloc, plain and under sanitizers
	@tools/c-test.sh

matrix: ## the Python tests on 3.12, 3.13 (oldest, newest), 3.14, its debug build, 3.15 (root, Debian)
	@tools/matrix.sh

kernels: ## the C tests and the attack table on Linux 6.1 and 6.12, and on aarch64, in qemu
	@tools/kernels.sh $(ARGS) || [ $$? = 77 ]

compat: ## the tests of other packages, 20,000 rounds each; ARGS="-k name" chooses
	@python=$$(tools/setup.sh test numpy); tools/compat-packages.sh "$$python"; \
	"$$python" -m pytest -q tests/compat $(ARGS)

coexist: ## violations beside wasmtime, greenlet, gevent, py-spy, gdb, strace, libsigsegv
	@python=$$(tools/setup.sh dev coexist); "$$python" -m pytest -q tests/unit/test_coexistence.py $(ARGS)

soak: ## the state machines, 20,000 steps each, under sanitizers and on a debug build; SEED=n repeats
	@tools/soak.sh $(SEED)

bench: ## the benchmark table
	@python=$$(tools/setup.sh dev demo); "$$python" benchmarks/run.py $(ARGS)

lint: ## ruff, clang-format, and a build in which a warning is an error
	@python=$$(tools/setup.sh dev); bin=$$(dirname "$$python"); \
	"$$bin/ruff" check .; \
	"$$bin/ruff" format --check .; \
	"$$bin/clang-format" --dry-run -Werror --ferror-limit=20 $(C_FILES); \
	build=build/lint-$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	export PATH="$$bin:$$PATH"; log=$$(mktemp); \
	{ meson setup --reconfigure -Dwerror=true "$$build" . && meson compile -C "$$build"; } >"$$log" 2>&1 \
	|| { cat "$$log"; rm -f "$$log"; exit 1; }; rm -f "$$log"; echo "No warning from the compiler."

format: ## rewrite sources as ruff and clang-format want them
	@python=$$(tools/setup.sh dev); bin=$$(dirname "$$python"); \
	"$$bin/ruff" check --fix-only .; \
	"$$bin/ruff" format .; \
	"$$bin/clang-format" -i $(C_FILES)

types: ## mypy --strict and pyright, on the package and on what they must refuse
	@python=$$(tools/setup.sh dev); \
	"$$python" -m pytest -q tests/typing

docs: ## the documentation as HTML, in build/docs; a warning is an error
	@python=$$(tools/setup.sh docs); "$$python" -m sphinx -W --keep-going -q -c docs . build/docs && \
	echo "The documentation is in build/docs/docs/index.html."

clean: ## remove environments, builds and caches
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
