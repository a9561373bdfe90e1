# Every target makes .venv at need and uses it again afterwards; only `gpu` runs in the Python that is
# there, because a machine with a GPU usually has a torch that was chosen for it.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SIMULATED := $(VENV)/simulated_gpu
PEERS := $(VENV)/peers
OUT ?= benchmarks/results
DEMO_OUT ?= runs/demo
TEST_ARGS ?=
SIM_ARGS ?=
MUTATE ?=
# One more than cores: some tests wait for processes of their own.
JOBS ?= $(shell expr 1 + `nproc 2>/dev/null || echo 2`)
BENCH_ARGS ?=
# All that skips something where a package of requirements-peers.txt is missing.
PEER_TESTS := tests/compat tests/metrics/test_libraries.py tests/metrics/test_inception_network.py \
	tests/test_examples.py tests/train/test_train_run.py::test_tensorboard_reads_it
CSRC := $(shell find csrc -type f 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test peers docs simulate simulator mutate bench gpu lint format clean

help:  ## say what the targets do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: $(VENV)/installed  ## train the games on real handwritten digits; writes runs/demo/report.md
	$(RUN) -m ganfast demo --out $(DEMO_OUT)

test: $(VENV)/installed simulator  ## run the whole test suite, in JOBS processes (default: one more than cores)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

peers: $(PEERS)/installed  ## the tests against pytorch-fid, torchmetrics, timm, Lightning and others, which test skips
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -n $(JOBS) --dist loadfile $(TEST_ARGS) $(PEER_TESTS)

docs: $(VENV)/installed  ## the pages, with the reference from the docstrings; writes site/
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet

simulate: $(VENV)/installed $(SIMULATED)/installed  ## the tests of the GPU kernels, all of them, on a simulated GPU
	OMP_NUM_THREADS=1 $(RUN) -m testing.simulated_gpu -q -n $(JOBS) --dist worksteal $(SIM_ARGS)

mutate: $(VENV)/installed $(SIMULATED)/installed  ## break the GPU kernels line by line: does a test notice? MUTATE=word picks
	$(RUN) -m tests.mutate $(MUTATE)

bench: $(VENV)/installed  ## time the operations against PyTorch; writes benchmarks/results/
	$(RUN) -m benchmarks.run $(BENCH_ARGS)

gpu:  ## on a machine with a CUDA GPU: install, time and test there; without one the simulated gates; OUT=folder
	$(PYTHON) -m benchmarks.gpu --out $(OUT)

lint: $(VENV)/installed  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/installed  ## let ruff mend what it can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:  ## remove the environment, build products and caches (not runs/, not what was measured)
	rm -rf $(VENV) build dist site *.egg-info ganfast/_cpu*.so .pytest_cache .mypy_cache .ruff_cache
	find ganfast tests testing benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/packages: requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The kernels are compiled in place; a changed source compiles them again, and what was built from the
# old one must not stay if that fails.
$(VENV)/installed: $(VENV)/packages pyproject.toml setup.py $(CSRC)
	@rm -f ganfast/_cpu*.so
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(RUN) -c "import torch, ganfast._cpu" 2>/dev/null || \
		echo "note: no C++ compiler built ganfast's kernels; slower ones serve. \`$(RUN) -m ganfast doctor\` says more."
	@touch $@

# `make test` goes on without it, and says what it did not run.
simulator: $(VENV)/packages
	@$(MAKE) --no-print-directory $(SIMULATED)/installed || \
		echo "note: what simulates a GPU could not be installed; its tests are skipped."

# A folder of its own: it wants another Triton than torch's, and would not be used outside of tests.
$(SIMULATED)/installed: $(VENV)/packages requirements-simulate.txt
	@rm -rf $(SIMULATED)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
		--target $(SIMULATED) -r requirements-simulate.txt
	@touch $@

# An environment of its own beside the other one, whose packages it sees: `make test` stays as it is.
$(PEERS)/installed: $(VENV)/installed requirements-peers.txt
	@rm -rf $(PEERS)
	@$(RUN) -m venv $(PEERS)
	@$(RUN) -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" > \
		`$(PEERS)/bin/python -c "import site; print(site.getsitepackages()[0])"`/beside.pth
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements-peers.txt -c requirements-dev.txt
	@touch $@
