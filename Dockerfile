# All four programs in one small image, as a user without rights.
#
#   docker build -t weir .                      the gateway, weir-analytics, weirctl, and weir-chdb without its engine
#   docker build -t weir:embedded --target embedded .        with ClickHouse's engine (178 MB packed) beside weir-chdb
#
# What it is built on may come from elsewhere, --build-arg BASE=registry.example/debian:12 for instance: cargo and a C
# compiler, npm, and glibc of the same age or younger than the build's. `make test-image` does it with Debian's packages.
ARG RUST=rust:1.95-bookworm
ARG NODE=node:22-bookworm-slim
ARG BASE=debian:12-slim

FROM ${RUST} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY dashboards dashboards
COPY loadtests loadtests
RUN cargo build --release --locked -p weir-gateway -p weir-analytics -p weir-chdb -p weir-ctl
# What the last stage copies, with the owners that it shall have: the base needs no package manager then.
RUN mkdir -p /image/usr/bin /image/etc/weir/conf.d /image/var/lib/weir \
    && cp target/release/weir target/release/weir-analytics target/release/weir-chdb target/release/weirctl /image/usr/bin/ \
    && strip /image/usr/bin/* \
    && chown 65534:65534 /image/var/lib/weir

FROM ${NODE} AS engine
COPY crates/chdb/engine/package.json crates/chdb/engine/package-lock.json /engine/
RUN npm ci --ignore-scripts --no-audit --no-fund --prefix /engine \
    && cp /engine/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so /libchdb.so

FROM ${BASE} AS base
# Whom the system trusts: an upstream of https is believed by these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/ /
ENV WEIR_LOG_FORMAT=json
VOLUME ["/var/lib/weir"]
USER 65534:65534
STOPSIGNAL SIGTERM
# Of the gateway; a container of another program is started with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/usr/bin/weirctl", "probe", "--check=readiness", "--allow-api-errors"]
ENTRYPOINT ["/usr/bin/weir"]
CMD ["run", "--config", "/etc/weir/conf.d"]

FROM base AS embedded
COPY --from=engine /libchdb.so /usr/lib/libchdb.so

FROM base AS weir
