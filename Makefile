PYTHON ?= python3
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lab install check crash month benchmarks clean

demo: install          ## whole trading days on a synthetic market, from prices to reports
	.venv/bin/pysys demo --fresh

test: install          ## every test
	.venv/bin/python -m pytest

lab: install           ## JupyterLab with the notebooks ready to run
	.venv/bin/pysys init
	.venv/bin/pysys lab

check: install         ## style, types and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

crash: install         ## the ledger under 200 kills, and dying at every commit and broker call
	.venv/bin/python -m tests.crash

month: install         ## a month of production days on real prices, to the cent: make month PRICES=DIR
	.venv/bin/python -m tests.rehearsal.month $(PRICES)

benchmarks: install    ## measured ratios, printed
	.venv/bin/python -m tests.benchmarks

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) uv
	.venv/bin/python -m uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock
	.venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --editable .
	.venv/bin/python -m compileall -q pysys
	touch .venv/installed

clean:
	rm -rf .venv build
