# The chores. `make demo` and `make test` need only Rust and a package manager; they set the rest up themselves.

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt lint docs fuzz mutants soak bench bench-peers bench-scaling bench-gateway bench-start bench-gate bench-accept bench-smoke overhead criterion ci clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

setup:          ## install what a build needs and this machine lacks
	@tools/setup

demo: setup     ## replay the incident of 2017-02-23 on a real gateway, print the table, write report.html
	cargo run --release --locked -p unskew -- demo

test:           ## install what the tests need, then run all of them
	@tools/setup tests
	cargo test --release --locked --workspace

check: setup    ## does everything compile?
	cargo check --release --locked --workspace --all-targets

fmt:            ## format all sources
	cargo fmt --all
	cd fuzz && cargo fmt

lint:           ## formatting and lints, warnings as errors; the guest for its own target too
	@tools/setup fuzz
	cargo fmt --all --check
	cd fuzz && cargo fmt --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo clippy --profile guest --locked -p unskew-guest --target wasm32-unknown-unknown -- -D warnings
	cd fuzz && cargo clippy --release --all-targets -- -D warnings

docs: setup     ## the library's reference, warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

fuzz:           ## fuzz each phase of the guest for SECONDS (30), or the phases in TARGETS
	@tools/setup fuzz
	@tools/fuzz $(or $(SECONDS),30) $(TARGETS)

mutants:        ## change plan, fuse, emit, splice and carry in hundreds of ways, or a SHARD of them (1/4): what does no test notice?
	@tools/setup mutants
	UNSKEW_LAWS=300 cargo mutants $(if $(SHARD),--shard $(SHARD))

soak: setup     ## the long forms: twice five minutes of swaps under load, two hundred kills; prints the figures
	@tools/setup tests
	UNSKEW_SWAP_SECONDS=$(or $(SECONDS),300) cargo test --release --locked -p unskew --test swap -- --nocapture
	UNSKEW_SWAP_SECONDS=$(or $(SECONDS),300) cargo test --release --locked -p unskew --test gateway swaps -- --nocapture
	UNSKEW_KILLS=$(or $(KILLS),200) cargo test --release --locked -p unskew --test gateway crash -- --nocapture

bench: setup    ## measure, libraries side by side, and count instructions; docs/performance.md says how to read it
	cd benches/peers && cargo build --release --locked
	cd benches && cargo bench --locked --bench table
	@if command -v valgrind >/dev/null; then cd benches && cargo bench --locked --bench instructions; \
	else echo "no instruction counts: install valgrind for them"; fi

overhead: setup ## what each surface costs against the bare balancer, in CPU time, requests a second and latencies
	@tools/setup tests
	cargo bench --locked --workspace --bench overhead

bench-peers: setup ## the same edit in jaq, VRL and JSONata too: they take minutes to build
	cd benches/peers && cargo build --release --locked --features languages
	@if command -v npm >/dev/null; then cd benches/peers/jsonata && npm ci --no-audit --no-fund; fi
	cd benches && cargo bench --locked --bench table -- 2 languages

bench-scaling: setup ## how the cost grows with bytes, ops, steps, elements, depth, carry and threads: docs/plots
	cd benches && cargo bench --locked --bench scaling

bench-gateway:  ## CPU time and latency of a request beside a bare Pingora proxy, nginx, HAProxy and Envoy
	@tools/setup tests
	cargo build --release --locked -p unskew
	cd benches && cargo bench --locked --bench gateway

bench-start: setup ## cold start, and swaps of guests
	cd benches && cargo bench --locked --bench start

bench-gate:     ## does anything take more instructions than benches/record/gate.csv has?
	@tools/setup bench
	cd benches && cargo bench --locked --bench instructions -- gate

bench-accept:   ## take what is counted now as the measure: say why in the commit
	@tools/setup bench
	cd benches && cargo bench --locked --bench instructions -- accept

bench-smoke: setup ## every bench once, so that its results are asserted; its own tests; its lints
	cd benches && cargo fmt --check && cargo clippy --release --locked --all-targets -- -D warnings
	cd benches/peers && cargo fmt --check && cargo clippy --release --locked --all-targets -- -D warnings
	cd benches/tree-guest && cargo fmt --check
	cd benches/peers && cargo build --release --locked
	cargo build --release --locked -p unskew
	cd benches && cargo test --release --locked
	cd benches && for bench in table scaling start instructions gateway; do cargo bench --locked --bench $$bench -- smoke || exit 1; done

criterion: setup ## the same subjects with criterion's statistics
	cd benches && cargo bench --locked --features criterion --bench criterion

ci:             ## what CI runs
	.ci/run

clean:          ## throw away what was built
	cargo clean
