# Every task is one target. `make test` is what CI runs; `make demo` shows the main job.

PYTHON ?= python3
WORK := $(CURDIR)/.work
VENV := $(WORK)/venv
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
EMULATOR := $(TARGET)/debug/respass-emulator
export RESPASS_EMULATOR = $(EMULATOR)
DEMO_SECONDS ?= 40
SEEDS ?= 200
FROM ?= 1
SECONDS ?= 60
MINUTES ?= 30

.PHONY: demo test lint generate lint-types test-rust test-python test-node simulate soak fuzz bench wheel emulator \
	prepare clean

demo: prepare emulator $(VENV)/.installed
	DEMO_SECONDS=$(DEMO_SECONDS) $(VENV)/bin/python demo/demo.py

test: prepare lint test-rust test-python test-node
	DEMO_SECONDS=25 $(VENV)/bin/python demo/demo.py
	$(MAKE) soak MINUTES=2 SEED=78
	@echo "all tests passed"

lint: prepare lint-types
	cargo fmt --all --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet -p respass-python -p respass-node -p respass-bench --all-targets -- -D warnings

# The package's own types, a program that uses them, and the generated stub beside what it describes.
lint-types: $(VENV)/.installed
	$(VENV)/bin/ruff format --quiet --check bindings-python soak demo
	$(VENV)/bin/ruff check --quiet bindings-python soak demo
	cd bindings-python && $(VENV)/bin/mypy --strict python/respass tests/typing
	cd bindings-python && $(VENV)/bin/python -m mypy.stubtest --concise respass._typed

# Writes what is generated from core/commands.json and codegen/surface anew.
generate:
	cargo run --quiet -p respass-codegen

test-rust: prepare emulator
	cargo test --no-fail-fast

test-python: $(VENV)/.installed
	env -u RESPASS_EMULATOR $(VENV)/bin/python -m pytest bindings-python/tests -q -m "not alone" -n 4 --dist loadfile
	env -u RESPASS_EMULATOR $(VENV)/bin/python -m pytest bindings-python/tests -q -m alone

test-node: emulator
	cd bindings-node && npm run --silent build && npm test

# The wheels, built and installed as a user would, into an environment of its own: the client's, and the emulator's.
wheel: prepare $(WORK)/build/.ready
	rm -f dist/respass-*.whl dist/respass_emulator-*.whl
	$(WORK)/build/bin/maturin build --quiet --release --locked --manifest-path bindings-python/Cargo.toml --out dist
	$(WORK)/build/bin/maturin build --quiet --release --locked --manifest-path emulator/Cargo.toml --out dist
	@ls -l dist/*.whl

$(WORK)/build/.ready:
	$(PYTHON) -m venv $(WORK)/build
	$(WORK)/build/bin/pip install --quiet 'maturin>=1.9,<2'
	touch $@

WHEEL_SOURCES := $(shell find core/src bindings-python/src bindings-python/python emulator/src -name '*.rs' \
	-o -name '*.py' -o -name '*.pyi') Cargo.lock core/Cargo.toml bindings-python/Cargo.toml \
	bindings-python/pyproject.toml bindings-python/tests/requirements.txt emulator/Cargo.toml emulator/pyproject.toml

$(VENV)/.installed: $(WHEEL_SOURCES)
	$(MAKE) wheel
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -r bindings-python/tests/requirements.txt
	$(VENV)/bin/pip install --quiet --force-reinstall --no-deps dist/respass-*.whl dist/respass_emulator-*.whl
	touch $@

emulator: prepare
	cargo build --quiet -p respass-emulator

prepare:
	@scripts/prepare.sh

# n simulated fleets, from seed FROM on; a failing seed is printed with the command that replays it.
simulate:
	SEEDS=$(SEEDS) FROM=$(FROM) cargo test --release --quiet -p respass-tests --test simulation \
		random_fleets -- --nocapture

# Programs on real sockets for so many minutes, under faults; SEED repeats the faults of another run.
soak: emulator $(VENV)/.installed
	$(VENV)/bin/python -m pytest soak -q
	MINUTES=$(MINUTES) $(VENV)/bin/python soak/soak.py

# Each random test of the parser, with new seeds for SECONDS.
fuzz:
	scripts/fuzz.sh $(SECONDS)

bench: prepare $(VENV)/.installed
	bench/run.sh

clean:
	rm -rf $(WORK) dist target bindings-node/*.node
