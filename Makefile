# The few commands people type. README explains them.
PYTHON ?= python3
VENV := third_party/python
# JPEGs decode twice as fast where the assembler nasm is installed; the bytes are the same.
FEATURES := $(if $(shell command -v nasm),--features simd-jpeg)

.DEFAULT_GOAL := help
.PHONY: help setup eval test check bench parity learn clean

help: ## show this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## fetch libtorch 2.11.0 (CPU, or CUDA where there is an NVIDIA driver); skipped where LIBTORCH is set
	@$(PYTHON) model/libtorch/get_libtorch.py

eval: setup ## build and run every task of the mini suite on the embedded model
	cargo run --locked --release $(FEATURES) --bin flava-eval -- --tasks all

test: setup ## run every test
	cargo test --locked

check: setup ## format, lint and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

bench: setup $(VENV)/ready ## measure against Hugging Face in the same run, and print the ratios
	cargo build --locked --release $(FEATURES) --bench speed --bins --example hub --example probe
	$(VENV)/bin/python tests/bench/bench.py

parity: setup $(VENV)/ready ## compare the default-size model, and the Hub's files and cache, with Hugging Face's, both ways
	cargo build --locked --release $(FEATURES) --example states --example hub --bin flava-eval
	$(VENV)/bin/python tests/bench/parity.py
	$(VENV)/bin/python tests/bench/interop.py

learn: setup $(VENV)/ready ## fine-tune and probe on real sentences, questions and digits, beside scikit-learn (half an hour)
	cargo build --locked --release $(FEATURES) --bins
	$(VENV)/bin/python tests/bench/learn.py

# The peer, for bench and parity only: no other command needs Python's packages.
$(VENV)/ready: tests/bench/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r tests/bench/requirements.txt
	touch $@

clean: ## remove what was built, but not what was fetched
	cargo clean
