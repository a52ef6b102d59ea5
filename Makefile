# Everything a person or CI does with the project. `make` alone explains itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-platforms setup-openapi setup-deploy setup-observe setup-otlp setup-bench setup-peers build test test-platforms test-x-contract test-openapi test-otlp faults fault-plants observe dashboards lint fmt bench bench-guard bench-baseline bench-api test-peers bench-peers observe-spike observe-renewals loadtest check-deploy demo

NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
# What runs against other people's programs has "real_" in its name.
REAL_TESTS := test(/real_/)
OPENAPI_TESTS := test(/openapi_real_/)
# What needs a vendor's document, which is given by its path.
CONTRACT_TESTS := test(/contract_real_/)

help: ## Shows this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Installs what the tests need and this machine lacks: Redis, PostgreSQL, Prometheus, Grafana's types (needs Node 20)
	@.ci/setup servers
	@.ci/setup observe
	@.ci/setup dashboards

setup-platforms: ## Installs the platform servers that test-platforms runs (needs Node 20, Python 3.10 and Debian)
	@.ci/setup platforms

setup-openapi: ## Installs schemathesis, which test-openapi runs (needs Python 3.10)
	@.ci/setup openapi

setup-otlp: ## Installs Rotel, a collector of OpenTelemetry, to which test-otlp sends (needs Python 3)
	@.ci/setup otlp

setup-bench: setup ## Installs valgrind, with which bench-guard counts instructions
	@.ci/setup bench

setup-peers: ## Installs the job queues that bench-peers measures: BullMQ, Sidekiq (needs Node 20)
	@.ci/setup peers

setup-deploy: ## Installs the linters of what Postworks is deployed with (needs Python 3)
	@.ci/setup deploy

setup-observe: setup ## Installs what observe needs besides: a browser that draws pictures
	@.ci/setup browser

build: ## Builds every binary
	cargo build --workspace --all-targets

test: setup build ## Runs the tests, on private servers of their own
	cargo test --workspace --doc --quiet
ifdef NEXTEST
	cargo nextest run --workspace -E 'not $(REAL_TESTS)'
else
	cargo test --workspace --lib --bins --tests -- --skip real_
endif

test-platforms: setup setup-platforms build ## Runs the tests against real platform servers
ifdef NEXTEST
	cargo nextest run --workspace -E '$(REAL_TESTS) - $(OPENAPI_TESTS) - $(CONTRACT_TESTS)'
else
	cargo test --workspace --tests -- real_ --skip openapi_real_ --skip contract_real_
endif

test-x-contract: ## Checks what is sent to X against X's OpenAPI document, at OPENAPI (needs Node 20)
	@.ci/setup prism
ifdef NEXTEST
	OPENAPI='$(abspath $(OPENAPI))' cargo nextest run --package postworks-workers -E '$(CONTRACT_TESTS)'
else
	OPENAPI='$(abspath $(OPENAPI))' cargo test --package postworks-workers --test it -- contract_real_
endif

test-openapi: setup setup-openapi build ## Asks the API all that its document allows, and more (SEED, EXAMPLES)
ifdef NEXTEST
	cargo nextest run --workspace --success-output final -E '$(OPENAPI_TESTS)'
else
	cargo test --workspace --tests -- openapi_real_ --show-output
endif

# All that is in no normal build, in one second set of features for faults, test-otlp, observe and lint: the
# workspace is built twice, and not once for each. Failpoints that nobody sets are a look at a flag.
SECOND := --features postworks-server/faults,postworks-server/observe,postworks-server/otlp
FAULTS := cargo test --quiet --workspace $(SECOND) --test faults --

faults: setup ## Breaks real processes and servers on purpose and checks what is left (ROWS, SEED, MINUTES, JOBS)
	$(FAULTS) $(ROWS) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JOBS),--jobs $(JOBS))

fault-plants: setup ## Shows that the fault suite catches bugs that are put in on purpose
	$(FAULTS) --plants $(ROWS) $(if $(SEED),--seed $(SEED))

test-otlp: setup setup-otlp ## Tests the export of spans, which is behind a feature, with a real collector
	cargo test --quiet --workspace $(SECOND) --test otlp

# Debug builds, as the tests: what is proven is that figures and alerts are there, not how high they are.
observe: setup-observe ## Proves dashboards and alerts on a fleet under load (12 minutes; pictures in target/observe)
	cargo test --quiet --workspace $(SECOND) --test observe --

dashboards: ## Writes dashboards/*.json from config/dashboards
	node config/dashboards/build.mjs

lint: ## Checks format, lints and documentation
	cargo fmt --all --check
	cargo fmt --manifest-path benches/peers/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets $(SECOND) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

check-deploy: setup-deploy ## Checks compose, Kubernetes, systemd and the Dockerfile, offline
	@.ci/check-deploy

fmt: ## Formats the code
	cargo fmt --all
	cargo fmt --manifest-path benches/peers/Cargo.toml

bench: setup ## Measures throughput, latency, idle cost and memory (minutes; prints a table)
	cargo bench --quiet --package postworks --bench engine

# The tests' builds: what is compared are ratios and counts of one build, so it need not be a fast one.
GUARD := cargo test --quiet --workspace --bench engine -- --guard

bench-guard: setup-bench ## Fails if the engine lost a quarter of its speed, by ratios and counts that no machine changes
	$(GUARD)

bench-baseline: setup-bench ## Writes anew what bench-guard compares with, after a change that was meant
	$(GUARD) --write

bench-api: setup ## Measures the HTTP API under load from another process (minutes; prints a table)
	cargo bench --quiet --package postworks-server --bench api

bench-peers: setup setup-peers ## Measures Postworks beside other job queues and writes docs/benchmarks.md (half an hour; ONLY, RUNS, QUICK)
	cargo run --quiet --release --manifest-path benches/peers/Cargo.toml -- run $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) $(if $(QUICK),--quick)

# In no other target: it builds the engine, and all peers in Rust, once more.
test-peers: ## Checks lints and tests of bench-peers' own code
	cargo clippy --release --all-targets --manifest-path benches/peers/Cargo.toml -- -D warnings
	cargo test --release --quiet --manifest-path benches/peers/Cargo.toml

observe-spike: setup ## Lets 20,000 jobs come at once to `up --workers auto`, and shows its workers over time (minutes)
	cargo bench --quiet --package postworks-server --bench spike -- $(if $(JOBS),--jobs $(JOBS)) $(if $(CSV),--csv $(CSV))

observe-renewals: setup ## Lets the tokens of 1,000 accounts end together, renewed on demand and ahead, and shows the refreshes (9 minutes)
	cargo bench --quiet --package postworks-server --bench renewals -- $(if $(ACCOUNTS),--accounts $(ACCOUNTS))

loadtest: ## Puts load on Postworks and writes a report to logs/loadtest (PROFILE, SCENARIOS, SEED; a minute)
	@.ci/setup servers
	cargo run --release -- loadtest $(SCENARIOS) --profile $(or $(PROFILE),smoke) $(if $(SEED),--seed $(SEED))

demo: ## Runs a thousand jobs with nothing installed
	cargo run --release -- demo
