# Two targets do everything on a fresh machine: `make demo` and `make test`.
VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow test-cluster lint clean

demo: $(INSTALLED)
	$(RUN) tools/demo.py

test: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist worksteal

test-slow: $(INSTALLED)
	$(RUN) -m pytest --slow -m slow

test-cluster: $(INSTALLED)
	$(RUN) -m pytest --cluster tests/cluster

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[test,viz]'
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
