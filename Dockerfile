# The binary with every role, and the lean worker.
#
#   docker build -t postworks .
#   docker run --rm postworks demo
#
# Which role runs is the command's business, so the image has no HEALTHCHECK of its own: a worker's
# health pages are where --metrics-listen says, and a migration has none. `postworks-probe PORT` asks
# /readyz on this container's loopback; compose.yaml and config/kubernetes have the probes.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# What is in no normal build: postworks-server/otlp sends spans to a collector of OpenTelemetry.
ARG FEATURES=""

# The dependencies alone: this layer is built again only when they change. Cargo wants to see a file
# for each of our targets; what is in it comes later.
COPY Cargo.toml Cargo.lock build.rs ./
COPY workers/Cargo.toml workers/
COPY server/Cargo.toml server/
RUN mkdir -p src benches/engine tests/workers migrations workers/src workers/tests/it \
        server/src server/benches/api server/benches/spike server/tests/faults \
    && touch src/lib.rs workers/src/lib.rs server/src/lib.rs \
    && for file in benches/engine/main.rs tests/workers/fragile.rs workers/src/main.rs \
        workers/tests/it/main.rs server/src/main.rs server/benches/api/main.rs \
        server/benches/spike/main.rs server/tests/faults/main.rs; do echo 'fn main() {}' > "$file"; done \
    && cargo build --locked --release --workspace --bins --features "$FEATURES"

COPY config/default.toml config/
COPY config/loadtest config/loadtest
COPY migrations migrations
COPY src src
COPY workers/src workers/src
COPY server/src server/src
# Cargo goes by the time of files, and those above are younger than what was copied.
RUN find src workers/src server/src -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --workspace --bins --features "$FEATURES" \
    && strip target/release/postworks target/release/postworks-worker

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/postworks /build/target/release/postworks-worker /usr/local/bin/
COPY --chmod=0755 config/container/probe /usr/local/bin/postworks-probe
# By number, for runtimes that must see that it is not root.
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/usr/local/bin/postworks"]
CMD ["--help"]
