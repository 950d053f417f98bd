#!/usr/bin/env bash
# start.sh COMMAND…: an example beside the bridge. If no bridge is ready, one with its embedded broker is started, as
# `make run` in the root does, and ended with the example.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export NATS_URL=${NATS_URL:-nats://${BRIDGE_EMBEDDED_LISTEN:-127.0.0.1:4222}}
export PYTHONUNBUFFERED=1 # what an example says is seen when it says it
make -s --no-print-directory -C "$root" .venv/bin/.run

ready() {
  "$root/.venv/bin/python" -c 'import sys, urllib.request as r; r.urlopen(f"http://{sys.argv[1]}/health/ready")' \
    "${BRIDGE_OPS_LISTEN:-127.0.0.1:8081}" 2>/dev/null
}

if ready; then exec "$@"; fi # whoever ends this, then ends the example

(cd "$root" && exec .venv/bin/webhook-bridge serve) &
bridge=$!
trap '{ kill "$bridge" && wait "$bridge"; } 2>/dev/null || true' EXIT
until ready; do
  kill -0 "$bridge" 2>/dev/null || exit 1 # it has said why
  sleep 0.2
done
"$@"
