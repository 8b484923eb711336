# One image with the three services, of which the command says which one runs, and the operators'
# commands: docker compose run --rm ticket-worker dlq list

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a change of the sources, so that only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p api-gateway -p ticket-worker -p regist-worker \
        -p dead-letters -p saga \
    && install -D --target-directory=/out \
        target/release/api-gateway target/release/ticket-worker target/release/regist-worker \
        target/release/dlq target/release/ledger target/release/rabbitmq-definitions

# Root certificates are compiled in; the shell is for the health checks.
FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin saga
COPY --from=build /out/ /usr/local/bin/
COPY docker/gateway-is-ready /usr/local/bin/
USER saga
CMD ["api-gateway"]
