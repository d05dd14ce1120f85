# The few commands people type. README explains them.
PYTHON ?= python3
VENV := third_party/python
HUB_VENV := third_party/python-hub
READERS_VENV := third_party/python-readers
MATURIN := third_party/maturin/bin/maturin
# JPEGs decode twice as fast where the assembler nasm is installed; the bytes are the same.
FEATURES := $(if $(shell command -v nasm),--features simd-jpeg)

.DEFAULT_GOAL := help
.PHONY: help setup eval eval-all test check pretrain-mini ablation board gpu bench parity learn dist wheel check-dist clean

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## fetch libtorch 2.11.0 (CPU, or CUDA where there is an NVIDIA driver); skipped where LIBTORCH is set
	@$(PYTHON) model/libtorch/get_libtorch.py

eval: setup ## build, and measure the embedded model on the mini suite's ten tasks that need no training
	cargo run --locked --release $(FEATURES) --bin flava-eval -- --tasks 'all,!*-tuned'

eval-all: setup ## the same with the fine-tuned tasks (six minutes)
	cargo run --locked --release $(FEATURES) --bin flava-eval -- --tasks all

test: setup ## run every test
	cargo test --locked

check: setup ## format, lint and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	$(PYTHON) tests/structure.py

pretrain-mini: setup ## make the embedded model again, from nothing, into pretrained/mini/model (three quarters of an hour)
	cargo build --locked --release $(FEATURES) --bins
	target/release/flava-pretrain run mini
	target/release/flava-eval --model pretrained/mini/model --suite mini --tasks all --out pretrained/mini/runs

# The paper's columns at mini size, one after the other, with a fifth of the mini recipe's joint steps; what is done already is not done
# again. The stages before joint training are made once, for the first column.
COLUMNS ?= flava $(filter-out flava,$(basename $(notdir $(wildcard pretrain/recipes/columns/*.toml))))
SEEDS ?= 0 1 2
SHORTER := --set joint.schedule.steps=800 --set joint.schedule.warmup=100
MEASURED := mini-groups,mini-things-knn,mini-things-few-shot,mini-zero-shot,mini-retrieval,mini-retrieval-reranked,mini-vqa,mini-entailment,mini-sentence,mini-paraphrase
ablation: setup ## the paper's ablation at mini size, three seeds, into results/mini-ablation.csv (some hours)
	cargo build --locked --release $(FEATURES) --bins
	for seed in $(SEEDS); do for column in $(COLUMNS); do \
	  out=ablation/$$column/seed-$$seed; mkdir -p $$out; \
	  for stage in tokenizer codebook text image; do test -e $$out/$$stage || cp -r ablation/flava/seed-$$seed/$$stage $$out/ 2>/dev/null; done; \
	  cp -n ablation/flava/seed-$$seed/visual-words-* $$out/ 2>/dev/null; \
	  target/release/flava-pretrain run mini-$$column --seed $$seed $(SHORTER) --out $$out && \
	  target/release/flava-eval --model $$out/model --tasks $(MEASURED) --out $$out/runs || exit 1; \
	done; done
	target/release/flava-pretrain ablation ablation --out results/mini-ablation.csv

board: setup ## make results/LEADERBOARD.md, its tables and README's block from results/measured
	cargo build --locked --release $(FEATURES) --bins
	target/release/flava-eval leaderboard results/measured/*.csv --join-seeds --out results --block README.md > /dev/null

gpu: setup ## run tests and figures on this machine's NVIDIA card, beside transformers (eight minutes)
	FEATURES="$(FEATURES)" tests/gpu/bundle.sh
	tests/gpu/run.sh target/gpu-bundle.tar.xz target/gpu

bench: setup $(VENV)/ready ## measure beside other libraries in the same run, and print the ratios (an hour; five minutes with QUICK=1)
	cargo build --locked --release $(FEATURES) --bench speed --bins --example hub --example probe --example steps --example board --example tables
	QUICK=$(QUICK) $(VENV)/bin/python tests/bench/bench.py
	$(if $(QUICK),$(VENV)/bin/python tests/bench/compare.py)

parity: setup $(VENV)/ready $(HUB_VENV)/ready $(READERS_VENV)/ready ## compare the default-size model, the Hub's files and cache, and what is exported, with Hugging Face's own and other tools
	cargo build --locked --release $(FEATURES) --example states --example hub --example publish --bins
	$(VENV)/bin/python tests/bench/parity.py
	$(VENV)/bin/python tests/bench/tuned.py
	$(VENV)/bin/python tests/bench/one_step.py
	$(VENV)/bin/python tests/bench/interop.py
	$(HUB_VENV)/bin/python tests/bench/publish.py
	$(VENV)/bin/python tests/bench/pretrained.py
	$(VENV)/bin/python tests/bench/launchers.py
	$(VENV)/bin/python tests/bench/report.py
	$(READERS_VENV)/bin/python tests/bench/readers.py target/release/flava-eval

learn: setup $(VENV)/ready ## fine-tune and probe on real sentences, questions and digits, beside scikit-learn (half an hour)
	cargo build --locked --release $(FEATURES) --bins
	$(VENV)/bin/python tests/bench/learn.py

$(MATURIN):
	$(PYTHON) -m venv third_party/maturin
	third_party/maturin/bin/python -m pip install -q maturin==1.16.0

# The peer, for bench and parity only: no other command needs Python's packages.
$(VENV)/ready: tests/bench/requirements.txt tests/bench/requirements-alone.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r tests/bench/requirements.txt
	$(VENV)/bin/python -m pip install -q --no-deps -r tests/bench/requirements-alone.txt
	touch $@

$(HUB_VENV)/ready: tests/bench/requirements-hub.txt
	$(PYTHON) -m venv $(HUB_VENV)
	$(HUB_VENV)/bin/python -m pip install -q -r tests/bench/requirements-hub.txt
	touch $@

# Every Eval Ever's validator asks for an older huggingface_hub and Python 3.12, and needs neither.
$(READERS_VENV)/ready: tests/bench/requirements-readers.txt
	$(PYTHON) -m venv $(READERS_VENV)
	$(READERS_VENV)/bin/python -m pip install -q -r tests/bench/requirements-readers.txt
	$(READERS_VENV)/bin/python -m pip install -q --no-deps --ignore-requires-python every-eval-ever==0.3.0
	touch $@

dist: setup ## pack the programs and their libraries for other machines, into target/dist
	FEATURES="$(FEATURES)" packaging/tarball.sh

wheel: setup $(MATURIN) ## build the wheel flava-suite, which finds libtorch in Python's torch, into target/wheels
	FEATURES="$(FEATURES)" packaging/wheel.sh $(MATURIN)

check-dist: dist wheel ## try both where nothing else is installed
	packaging/check.sh

clean: ## remove what was built, but not what was fetched
	cargo clean
