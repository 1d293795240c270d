# Few verbs. `make demo` shows Weir, `make test` proves it, `make bench` prices it, `make check` is for before a commit.

ENGINE := crates/chdb/engine/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so

.PHONY: help demo test bench check soak
help:
	@echo "make demo    two gateways on two sites, an upstream, ClickHouse, the page and traffic, until Ctrl-C"
	@echo "make test    every test, with what it needs installed"
	@echo "make check   formatting, lints, licences, 60 s of each fuzz target"
	@echo "make soak    the kill runs, 50 seeds"
	@echo "make bench   CPU a request beside the others"

# ClickHouse's engine as a library: 178 MB to fetch, once; the lock file says which bytes.
$(ENGINE): crates/chdb/engine/package-lock.json
	@echo "== ClickHouse's engine: 178 MB, fetched once"
	npm ci --ignore-scripts --no-audit --no-fund --prefix crates/chdb/engine
	@touch $@

demo: $(ENGINE)
	@echo "== building the programs (minutes the first time, seconds after that)"
	cargo build --profile demo --bins
	@exec target/demo/weir-testkit demo $(ARGS)

test: $(ENGINE)
	@echo "== formatting"
	cargo fmt --all --check
	@echo "== lints"
	cargo clippy --workspace --all-targets -- -D warnings
	@echo "== programs"
	cargo build --workspace --bins
	@echo "== tests"
	cargo test --workspace
