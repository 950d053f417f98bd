#!/usr/bin/env bash
# What the system tests need on a machine that has Debian's apt (as root), Go and the network: run by `make system`.
# Everything built is kept outside the tree and made once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/webhook-bridge
mkdir -p "$cache/bin"

packages() { # command=package …
  local missing=()
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} = 0 ] && return
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

base() { # the image's base, for machines that can pull none: Debian with Python, as an archive
  [ -f "$cache/base.tar" ] && return
  echo "making a base image (once, about two minutes)"
  rm -rf "$cache/base"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$cache/base" >"$cache/base.log" 2>&1 \
    || { tail -5 "$cache/base.log" >&2; exit 1; }
  tar -C "$cache/base" --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' -cf "$cache/base.tar.part" .
  mv "$cache/base.tar.part" "$cache/base.tar"
  rm -rf "$cache/base"
}

packages buildah=buildah debootstrap=debootstrap unshare=util-linux
base
