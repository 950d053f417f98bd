#!/usr/bin/env bash
# What the fault matrix needs on a machine that has Debian's apt, as root: run by `make faults`.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "the fault matrix needs root: it cuts networks, mounts file systems and breaks system calls" >&2; exit 1; }
missing=()
for pair in strace=strace ip=iproute2 mkfs.ext4=e2fsprogs mount=mount; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
[ ${#missing[@]} = 0 ] && exit
echo "installing ${missing[*]}"
apt-get update -qq -o Acquire::Retries=3
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Acquire::Retries=3 --no-install-recommends "${missing[@]}" >/dev/null
