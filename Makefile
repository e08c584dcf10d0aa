# What CI runs, runnable by hand. `make demo` and `make test` are all that a newcomer needs.

.PHONY: demo test examples load stress loom bench bench-quick bench-report bench-check instructions instructions-accept system-calls registry-cost doc lint api api-accept package aarch64 conformance tsan asan models seeded seeded-real fuzz fuzz-saved asm asm-check coverage need

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

stress: need ## Races that unoptimized code is too slow for; then everything at once for SECS seconds (60), with signals and forks; ARGS="--seed N" and others
	cargo test --release --lib -- --include-ignored
	cargo run --release --example stress -- --secs $(or $(SECS),60) $(ARGS)

loom: need ## The models of the protocols, and that docs/models.md says what they explored
	@scripts/need.sh python3
	scripts/models.py explore

models: need ## The same, and writes docs/models.md
	@scripts/need.sh python3
	scripts/models.py table

seeded: need ## That each model fails with the bugs of tests/loom/seeds.toml
	@scripts/need.sh python3
	scripts/models.py seeded

seeded-real: need ## That fuzz targets, and tests without a model, fail with the bugs of tests/seeds.toml
	@scripts/need.sh python3
	scripts/seeded_real.py

bench: need ## Benchmarks beside the peers, each for itself, by criterion
	cargo bench

bench-quick: need ## How the goals of speed stand, in two minutes
	scripts/bench.sh quick

bench-report: need ## The same in twenty minutes, with all ratios and plots: docs/benchmarks.md
	scripts/bench.sh report

bench-check: need ## Lints what measures and is not of the workspace: the report, and the example server on others' locks
	cargo clippy --locked --manifest-path benches/report/Cargo.toml --all-targets --target-dir $(or $(CARGO_TARGET_DIR),target)/report -- -D warnings
	cargo test --locked --manifest-path benches/report/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)/report
	cargo clippy --locked --manifest-path benches/kv_peers/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)/kv-std -- -D warnings
	cargo clippy --locked --manifest-path benches/kv_peers/Cargo.toml --features parking_lot --target-dir $(or $(CARGO_TARGET_DIR),target)/kv-parking_lot -- -D warnings

instructions: need ## Instructions of the fast paths, under valgrind; fails if there are more than in benches/instructions.toml
	@scripts/need.sh python3
	scripts/instructions.py

instructions-accept: need ## Makes benches/instructions.toml what they are now
	@scripts/need.sh python3
	scripts/instructions.py accept

system-calls: need ## System calls of a start and join, under strace, into docs/system-calls.md
	@scripts/need.sh python3
	scripts/system-calls.py

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

PUBLISHED = $(or $(CARGO_TARGET_DIR),target)/published

# A registry's crate never changes, thinks cargo: it would build threadbare against the threadbare-sys that it
# unpacked and compiled the first time, whatever is packaged now. So what it kept goes first.
package: need ## Both crates as they would be published, in published/package of the target folder, built from that
	rm -rf $(PUBLISHED) "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/-*/threadbare-sys-*
	cargo package --workspace --all-features --target-dir $(PUBLISHED)

aarch64: need ## The tests on aarch64, under qemu
	scripts/aarch64.sh

tsan: need ## The tests under ThreadSanitizer; TESTS="lib lock event" runs only those
	scripts/sanitize.sh tsan $(TESTS)

asan: need ## The tests under AddressSanitizer and LeakSanitizer; TESTS as for tsan
	scripts/sanitize.sh asan $(TESTS)

asm: need ## The instructions of the fast paths on each architecture; fails if their barriers are not the intended ones
	tests/fast_paths/trace.py

asm-check: need ## The same without the listings
	tests/fast_paths/trace.py check

coverage: need ## Lines and branches that the tests reach; those of src/raw and sys that are not, with docs/coverage.md
	scripts/coverage.py

conformance: need ## CPython's own tests, in the CPythons that there are
	tests/conformance/run.py

SECS = 60

fuzz: need ## Fuzzing: TARGET=… picks one of fuzz/fuzz_targets/, SECS=… is for how long each
	scripts/fuzz.sh $(SECS) $(TARGET)

fuzz-saved: need ## What fuzzing has saved, in both ways of building, without a fuzzer
	cargo test --manifest-path fuzz/Cargo.toml
	RUSTFLAGS="--cfg threadbare_model --cfg threadbare_shuttle" CARGO_TARGET_DIR=fuzz/target/modelled-saved \
	    cargo test --manifest-path fuzz/Cargo.toml

need:
	@scripts/need.sh
