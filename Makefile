# make demo | make test: all set-up included, from any folder. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
IN := .venv/bin/python

.PHONY: demo test lint clean

demo: .venv/installed
	$(IN) -m surgrl demo

# Beside one another, but for those that hold nodes to milliseconds. Of these, what failed among a dozen processes is
# asked once more by itself, and both outcomes are told; the faults are not: a robot gets no second try.
test: .venv/installed
	@status=0; \
	$(IN) -m pytest -n auto --dist loadfile --ignore tests/ros --ignore tests/faults || status=1; \
	$(IN) -m pytest tests/ros || $(IN) -m pytest tests/ros --last-failed --last-failed-no-failures none || status=1; \
	$(IN) -m pytest tests/faults || status=1; \
	exit $$status

lint: .venv/installed
	$(IN) -m ruff check
	$(IN) -m mypy

# Console scripts carry the absolute path of .venv in their first line, which breaks on spaces: hence `-m`.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "surgrl: no $(PYTHON) here; install Python 3.10 or newer, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "surgrl: $$("$(PYTHON)" -V) is too old; 3.10 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c "import ensurepip, venv" 2>/dev/null || \
		{ echo "surgrl: $(PYTHON) cannot make virtual environments; on Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info >= (3, 12))" || command -v c++ >/dev/null || \
		{ echo "surgrl: $$("$(PYTHON)" -V) has no wheel of pybullet, and there is no C++ compiler to build it; take make PYTHON=python3.11, or on Debian or Ubuntu: sudo apt install g++ python3-dev" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	$(IN) -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf build dist install log ./*.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
