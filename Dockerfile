# The images of `cargo xtask images`, for a machine with a container engine:
#   docker build --target operator --tag registry.example.com/team/operator:0.1.0 .
# and the same for gateway, runner, webhook and python.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc --print host-tuple)" && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile dist --target "$target" --bins \
      --package oarmaster-operator --package oarmaster-gateway --package oarmaster-runner \
      --package oarmaster-webhook && \
    mkdir -p /out/tmp && chmod 1777 /out/tmp && \
    cp "target/$target/dist/oarmaster-operator" "target/$target/dist/oarmaster-gateway" \
       "target/$target/dist/oarmaster-runner" "target/$target/dist/oarmaster-exec" \
       "target/$target/dist/oarmaster-webhook" /out/

FROM scratch AS operator
COPY --from=build /out/tmp /tmp
COPY --from=build /out/oarmaster-operator /usr/local/bin/oarmaster-operator
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/oarmaster-operator"]

FROM scratch AS gateway
COPY --from=build /out/tmp /tmp
COPY --from=build /out/oarmaster-gateway /usr/local/bin/oarmaster-gateway
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/oarmaster-gateway"]

FROM scratch AS runner
COPY --from=build /out/tmp /tmp
COPY --from=build /out/oarmaster-runner /usr/local/bin/oarmaster-runner
COPY --from=build /out/oarmaster-exec /usr/local/bin/oarmaster-exec
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/oarmaster-runner"]

FROM scratch AS webhook
COPY --from=build /out/tmp /tmp
COPY --from=build /out/oarmaster-webhook /usr/local/bin/oarmaster-webhook
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/oarmaster-webhook"]

FROM debian:bookworm-slim AS python
RUN apt-get update && \
    apt-get install --yes --no-install-recommends diffutils python3 python-is-python3 && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 65533 --home-dir /workspace --shell /bin/sh sandbox && \
    mkdir -p /workspace && chmod 0777 /workspace
ENV LANG=C.UTF-8
USER 65533:65533
WORKDIR /workspace
CMD ["python3"]
