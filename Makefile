# Every target sets up .venv by itself. The stamp makes the second time quick, and pip is not asked again (nor the network
# needed) until pyproject.toml changes. Tools run as `python -m`, because a script's first line cannot hold a path with spaces.

PYTHON ?=
VENV := .venv/bin/python
READY := .venv/ready

# A .venv whose Python is gone (upgraded, removed, copied from elsewhere) is no .venv, whatever the stamp says.
ifneq ($(shell $(VENV) -c "print('ok')" 2>/dev/null),ok)
.PHONY: $(READY)
endif

.PHONY: help demo test lint bench chaos clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    a gateway and phones that tell their story and stay up; nothing leaves this machine'
	@echo 'make test    the tests; ARGS="-k quota -x" goes to pytest'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   the benchmarks: relative figures, a few minutes'
	@echo 'make chaos   two machines are killed 300 times while they send 10,000 messages; half an hour; ARGS="--seed 7"'
	@echo 'make clean   remove .venv and caches; data in ./var stays'

demo: $(READY)
	@$(VENV) run.py demo

test: $(READY)
	@$(VENV) -m pytest -n 3 --dist worksteal $(ARGS)

lint: $(READY)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

bench: $(READY)
	@$(VENV) -m benchmarks $(ARGS)

chaos: $(READY)
	@$(VENV) -m tests.chaos $(ARGS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	@python=; for candidate in $(if $(PYTHON),'$(PYTHON)',python3 python3.13 python3.12 python3.11); do \
	    if "$$candidate" .ci/check_prerequisites.py --python 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    '$(or $(PYTHON),python3)' .ci/check_prerequisites.py || \
	        echo 'gapura: no usable Python was found; name one with: make PYTHON=/path/to/python3.12 …' >&2; \
	    exit 1; \
	fi; \
	"$$python" .ci/check_prerequisites.py || exit 1; \
	$(VENV) -m pip --version >/dev/null 2>&1 || { \
	    echo "gapura: making .venv with $$("$$python" --version)"; \
	    "$$python" -m venv --clear .venv || exit 1; \
	}
	@$(VENV) -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb')); \
	    print(*project['project']['dependencies'], *project['dependency-groups']['dev'], sep='\n')" > .venv/requirements.txt
	@echo 'gapura: installing what pyproject.toml names; the first time this takes a minute or two'
	@$(VENV) -m pip install --quiet --disable-pip-version-check --requirement .venv/requirements.txt
	@touch $@
