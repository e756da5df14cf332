# Every task is one target. `make test` is what CI runs; `make demo` shows the main job.

PYTHON ?= python3
WORK := $(CURDIR)/.work
VENV := $(WORK)/venv
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
EMULATOR := $(TARGET)/debug/respass-emulator
export RESPASS_EMULATOR = $(EMULATOR)
# The packages as users have them: an npm project with the tarball, and a prefix with the C library.
NODE_PROJECT := $(WORK)/node
C_PREFIX := $(WORK)/prefix
DEMO_SECONDS ?= 40
SEEDS ?= 200
FROM ?= 1
SECONDS ?= 60
MINUTES ?= 30
PREFIX ?= /usr/local

.PHONY: demo test lint generate lint-types test-rust test-python test-node test-vectors test-docs simulate soak trial \
	fuzz 	valgrind bench wheel npm install emulator prepare clean

demo: prepare emulator $(VENV)/.installed $(NODE_PROJECT)/.installed $(WORK)/demo-c
	DEMO_SECONDS=$(DEMO_SECONDS) DEMO_NODE=$(NODE_PROJECT) DEMO_C=$(WORK)/demo-c $(VENV)/bin/python demo/demo.py

test: prepare lint test-rust test-python test-node test-vectors test-docs
	$(MAKE) demo DEMO_SECONDS=25
	$(MAKE) soak MINUTES=2 SEED=78
	$(MAKE) trial MINUTES=0
	@echo "all tests passed"

lint: prepare lint-types
	cargo fmt --all --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet -p respass-python -p respass-node -p respass-bench -p respass-trial --all-targets -- -D warnings

# The package's own types, a program that uses them, and the generated stub beside what it describes.
lint-types: $(VENV)/.installed
	$(VENV)/bin/ruff format --quiet --check bindings-python soak trials demo docs/test_samples.py
	$(VENV)/bin/ruff check --quiet bindings-python soak trials demo docs/test_samples.py
	cd bindings-python && $(VENV)/bin/mypy --strict python/respass tests/typing
	cd bindings-python && $(VENV)/bin/python -m mypy.stubtest --concise respass._typed

# Writes what is generated from core/commands*.json and codegen/surface anew: command methods, the core's table.
generate:
	cargo run --quiet -p respass-codegen

test-rust: prepare emulator
	cargo test --no-fail-fast

test-python: $(VENV)/.installed
	env -u RESPASS_EMULATOR $(VENV)/bin/python -m pytest bindings-python/tests -q -m "not alone" -n 4 --dist loadfile
	env -u RESPASS_EMULATOR $(VENV)/bin/python -m pytest bindings-python/tests -q -m alone

test-node: emulator bindings-node/respass.node bindings-node/node_modules/.installed
	cd bindings-node && npm test

# The same conversations in four languages: the same count, and the same log.
test-vectors: $(VENV)/.installed bindings-node/respass.node
	PYTHON=$(VENV)/bin/python tests/vectors/run.sh

# Every sample of the README and of docs/, in the packages as users have them.
test-docs: emulator $(VENV)/.installed $(NODE_PROJECT)/.installed $(C_PREFIX)/.installed
	RESPASS_NODE_PROJECT=$(NODE_PROJECT) RESPASS_C_PREFIX=$(C_PREFIX) PYTHONPATH=bindings-python/tests \
		$(VENV)/bin/python -m pytest docs -q -p conftest -n 2

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

# dist/respass-VERSION.tgz, with the native part for this machine.
npm: bindings-node/respass.node
	mkdir -p dist && rm -f dist/respass-*.tgz
	cd bindings-node && npm pack --silent --pack-destination ../dist

NODE_SOURCES := $(shell find core/src bindings-node/src -name '*.rs') Cargo.lock core/Cargo.toml bindings-node/Cargo.toml

bindings-node/respass.node: $(NODE_SOURCES)
	cd bindings-node && npm run --silent build

bindings-node/node_modules/.installed: bindings-node/package.json
	cd bindings-node && npm install --no-package-lock --no-audit --no-fund --silent
	touch $@

# As a new user would: an empty project, the tarball, Azure's identity library, and TypeScript.
$(NODE_PROJECT)/.installed: bindings-node/respass.node bindings-node/package.json $(shell find bindings-node/lib) \
		$(wildcard bindings-node/index.*)
	$(MAKE) npm
	rm -rf $(NODE_PROJECT) && mkdir -p $(NODE_PROJECT)
	echo '{ "private": true }' > $(NODE_PROJECT)/package.json
	cd $(NODE_PROJECT) && npm install --no-package-lock --no-audit --no-fund --silent $(CURDIR)/dist/respass-*.tgz \
		@azure/identity@4 typescript@5 @types/node@20
	touch $@

# The C library with headers, pkg-config and CMake files. Needs cargo and cc, and nothing else.
install:
	scripts/install-c.sh $(PREFIX)

$(C_PREFIX)/.installed: $(shell find core/src ffi-c/src ffi-c/adapters ffi-c/packaging ffi-c/include) Cargo.lock
	$(MAKE) install PREFIX=$(C_PREFIX)
	touch $@

$(WORK)/demo-c: $(C_PREFIX)/.installed demo/program.c ffi-c/examples/app_service_token.h
	cc -std=c99 -O2 -Wall -Wextra -Werror -Iffi-c/examples -o $@ demo/program.c -Wl,-rpath,$(C_PREFIX)/lib \
		$$(PKG_CONFIG_PATH=$(C_PREFIX)/lib/pkgconfig pkg-config --cflags --libs respass)

# Every program of the C library's tests, every conversation, and 100,000 clients' lives.
valgrind: prepare emulator
	RESPASS_VALGRIND_CYCLES=100000 cargo test -p respass-ffi --test memory -- --include-ignored

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

# Programs in four languages on clusters, under faults one after the other: each fault once, or for so many MINUTES.
trial: emulator $(VENV)/.installed $(NODE_PROJECT)/.installed $(WORK)/trial-c
	cargo build --quiet -p respass-trial
	$(VENV)/bin/python -m pytest trials -q
	MINUTES=$(MINUTES) TRIAL_NODE=$(NODE_PROJECT) TRIAL_RUST=$(TARGET)/debug/respass-trial TRIAL_C=$(WORK)/trial-c \
		$(VENV)/bin/python trials/trial.py

$(WORK)/trial-c: $(C_PREFIX)/.installed trials/program.c ffi-c/examples/app_service_token.h
	cc -std=c99 -O2 -Wall -Wextra -Werror -Iffi-c/examples -o $@ trials/program.c -Wl,-rpath,$(C_PREFIX)/lib \
		$$(PKG_CONFIG_PATH=$(C_PREFIX)/lib/pkgconfig pkg-config --cflags --libs respass)

# Each random test of the parser, with new seeds for SECONDS.
fuzz:
	scripts/fuzz.sh $(SECONDS)

bench: prepare $(VENV)/.installed
	bench/run.sh

clean:
	rm -rf $(WORK) dist target bindings-node/*.node bindings-node/node_modules
