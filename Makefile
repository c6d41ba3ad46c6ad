# make demo    set up, build the example for an emulated Cortex-M4, validate it there
# make test    set up, then everything that CI checks
# make check   the same without setting up
# make quick   what runs in under a minute on two cores: no emulator, no training (tests/quick.txt)
# make coverage  all tests, and which lines of edge_tqs they run
# make constraints  write constraints.txt, the versions that the tests were run with, from .venv
# make lint    ruff, mypy, clang-format
# make docs    build the docs site into build/site; fails on a broken link and on any warning
# make bench   count the kernels' instructions on emulated cores; writes benchmarks/kernels.json
# make bench-diff  count them again and fail where they rose by more than 2 %
# make evidence  train the zoos, measure TQS beside other methods; writes docs/evidence*.md (over an hour)
# make recipes  train the recipes of tutorials and books, build them beside TFLite's converter; writes docs/recipes.md (half an hour)
# make faults  eleven kinds of faults, 50 runs each of 1,000 steps on an emulated board (half an hour)
# make fuzz    feed 10 million hostile inputs each to two firmwares, 1 million to the host's parser, and damaged files
# make booted  install, update and uninstall in a Debian that boots in a container; needs root, debootstrap and systemd-nspawn
# make soak    a million steps on an emulated board, each compared with the host
# make sanitize  run each portable kernel 100,000 times and more under ASan and UBSan
# make mutants change the arithmetic, memory, frames and plans a line at a time; fails where no test notices and docs/testing.md does not say why
# make clean   remove what was built; the environments stay

BIN := .venv/bin
BOARD := qemu-mps2-an386
EXAMPLE := examples/greenhouse
C_FILES := $(shell find firmware_templates benchmarks examples -name build -prune -o -name '*.[ch]' -print)
JOBS := 2
# Programs that roll out are faster with one thread for their small products; the command says so itself.
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test check quick coverage constraints lint docs setup clean bench bench-diff evidence recipes faults fuzz booted soak sanitize mutants

demo:
	@tools/setup demo
	cd $(EXAMPLE) && $(CURDIR)/$(BIN)/edge-tqs build --board $(BOARD)
	cd $(EXAMPLE) && $(CURDIR)/$(BIN)/edge-tqs validate build/$(BOARD) --rollouts 8 --horizon 24
	@echo "open        $(EXAMPLE)/build/$(BOARD)/report.html"

test: setup
	@$(MAKE) --no-print-directory check

check: lint docs
	$(BIN)/pytest -n $(JOBS)

quick:
	$(BIN)/pytest -n $(JOBS) -m "quick and not slow and not emulated" $(addprefix tests/,$(shell grep -o '^test_[a-z0-9_]*.py' tests/quick.txt))

coverage:
	$(BIN)/pytest -n $(JOBS) --cov=edge_tqs --cov-report=term

constraints:
	{ sed '/^[^#]/d' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } >build.constraints
	mv build.constraints constraints.txt

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

docs:
	PYTHONPATH=$(CURDIR) NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/kernels.py
	PYTHONPATH=$(CURDIR) $(BIN)/python -m benchmarks.kernels_table

bench-diff: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/kernels.py --diff

evidence: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python -m benchmarks.evidence

recipes: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python -m benchmarks.recipes

faults: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/faults.py

fuzz: setup
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m fuzz

booted: setup
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m booted

soak: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/soak.py

sanitize: setup
	PYTHONPATH=$(CURDIR) $(BIN)/python tests/sanitize.py

mutants: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	$(BIN)/python tests/mutants.py

setup:
	@tools/setup

clean:
	rm -rf build dist mutants $(EXAMPLE)/build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
