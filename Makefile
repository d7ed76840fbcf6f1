# `make demo` needs nothing but a Rust toolchain. `make test` is what CI runs.

CARGO ?= cargo
DEMO_OUT ?= out/demo

.PHONY: demo test mutants bless setup lint doc bench bench-table fuzz deny quality clean

## Decode two held-out videos with the shipped model and MLP replay on a simulated OpenCL device, and compare them with the dense run.
demo:
	$(CARGO) run --release -p fastcar-cli --no-default-features -- decode \
	  --model tests/models/moving-digits --first-frame heldout:3 --first-frame heldout:11 \
	  --policy-file tests/models/moving-digits/policy-input-delta.toml --compare-dense \
	  --backend opencl --out $(DEMO_OUT)

## Formatting, clippy, documentation and every test.
test: setup lint doc
	$(CARGO) test --workspace

## Put faults into the hardware: every one has to be caught by its test (docs/mutants.md). SLOW=1 also tries those that need a whole
## core, BLOCK=NAME those of one block, JOBS=N at a time.
mutants: setup
	$(CARGO) test --workspace --no-run --test mutants
	$(or $(CARGO_TARGET_DIR),target)/debug/mutants $(if $(SLOW),--slow) $(if $(BLOCK),--block $(BLOCK)) $(if $(JOBS),--jobs $(JOBS))

## Write anew what tests hold the sources to: generated pages, identities, resources, cells and depth of the blocks. Read the difference before it goes in.
bless: setup
	FASTCAR_BLESS=1 $(CARGO) test --workspace --no-fail-fast -- \
	  up_to_date keep_their_identities the_header_is published cost cells synthesis held

## OpenCL clients, loader and, where Debian has it, AMD's runtime for the tests. SKIP_SETUP=1 leaves the machine as it is.
setup:
	scripts/setup-test.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench:
	$(CARGO) bench --workspace

## Regenerate docs/performance-table.md: every target with its bound and what the simulator finds (some minutes).
bench-table:
	$(CARGO) run --release -p fastcar-cli -- targets --sample 64 --videos --markdown docs/performance-table.md

## Fuzz the readers of untrusted bytes, one minute each (needs `cargo install cargo-fuzz`; the flag lets the stable compiler instrument).
fuzz:
	cd fuzz && for target in packed commands config xclbin; do RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target --sanitizer none -- -max_total_time=60 || exit 1; done

## Licences, duplicate and banned crates (needs `cargo install cargo-deny`).
deny:
	cargo deny check licenses bans sources

## Regenerate the committed quality curves (a few minutes).
quality:
	$(CARGO) run --release -p fastcar-cli -- quality --model tests/models/moving-digits \
	  --weights mxint8 --clips 8 --out out/quality

clean:
	$(CARGO) clean
