# What CI runs, runnable by hand. `make demo` and `make test` are all that a newcomer needs.

.PHONY: demo test examples load loom bench registry-cost doc lint api api-accept package aarch64 asm asm-check coverage conformance need

demo: need ## A key-value server on threadbare, under a real client
	scripts/kv-demo.sh

test: need ## All tests
	cargo test --workspace --all-features

EXAMPLES = producer_consumer connection_pool rate_limiter phases graceful_shutdown names_in_logs

examples: need ## The small examples, one after the other; each checks itself
	cargo build $(EXAMPLES:%=--example %)
	@set -e; for example in $(EXAMPLES); do \
	    echo "== $$example"; timeout --kill-after=5 60 cargo run --quiet --example $$example; \
	done

load: need ## The server under 5,000 connections, stalled clients, broken input, signals
	scripts/kv-load.sh

loom: need ## The models of the protocols; tests/loom/main.rs says how long they take
	RUSTFLAGS="--cfg threadbare_model" CARGO_TARGET_DIR=target/loom cargo test --release --test loom

bench: need ## Benchmarks beside the peers
	cargo bench

registry-cost: need ## Instructions per start and join with 10 and with 10,000 live threads, under valgrind
	scripts/registry-cost.sh

doc: need ## The documentation, in target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

lint: need ## Formatting and lints, with all features and without
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --all-features -- -D warnings

api: need ## How the public API differs from docs/public-api/
	scripts/api.sh

api-accept: need ## Makes docs/public-api/ what the public API is now
	scripts/api.sh accept

package: need ## Both crates as they would be published, in target/package, built from that
	cargo package --workspace --all-features

aarch64: need ## The tests on aarch64, under qemu
	scripts/aarch64.sh

asm: need ## The instructions of the fast paths on each architecture; fails if their barriers are not the intended ones
	tests/fast_paths/trace.py

asm-check: need ## The same without the listings
	tests/fast_paths/trace.py check

coverage: need ## Lines and branches that the tests reach; those of src/raw and sys that are not, with docs/coverage.md
	scripts/coverage.py

conformance: need ## CPython's own tests, in the CPythons that there are
	tests/conformance/run.py

need:
	@scripts/need.sh
