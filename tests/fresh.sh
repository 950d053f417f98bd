#!/usr/bin/env bash
# The README's two commands in a fresh clone in an empty folder, on ports of their own: what is missing from the files
# is what this machine had by hand. `FRESH_TEST=0` leaves `make test` out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
git clone -q "$root" "$folder/clone"
cd "$folder/clone"
# three that are free, and none of those that outgoing connections get, such as pip's before the bridge listens
free='import random, socket
held = []
while len(held) < 3:
    try: held.append(socket.create_server(("127.0.0.1", random.randrange(10_000, 32_768))))
    except OSError: pass
print(*(one.getsockname()[1] for one in held))'
read -r listen ops embedded <<<"$(python3 -c "$free")"
export BRIDGE_LISTEN=127.0.0.1:$listen BRIDGE_OPS_LISTEN=127.0.0.1:$ops BRIDGE_EMBEDDED_LISTEN=127.0.0.1:$embedded
make run >"$folder/serve.log" 2>&1 &
server=$!
for _ in $(seq 600); do
  grep -q broker_ready "$folder/serve.log" && break
  kill -0 "$server" 2>/dev/null || { cat "$folder/serve.log" >&2; exit 1; }
  sleep 0.5
done
.venv/bin/webhook-bridge send
.venv/bin/webhook-bridge tail --all --count 1 | grep -q events.chatlevel.message.received
pkill -INT -P "$server" || true
wait "$server" || true
grep -q stopped "$folder/serve.log"
unset BRIDGE_LISTEN BRIDGE_OPS_LISTEN BRIDGE_EMBEDDED_LISTEN
[ "${FRESH_TEST:-1}" = 0 ] || make test
echo "fresh: both commands work in a new clone"
