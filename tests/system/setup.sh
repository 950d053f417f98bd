#!/usr/bin/env bash
# What the system tests need on a machine that has Debian's apt (as root), Go and the network: run by `make system`.
# Everything built is kept outside the tree, by its version, and made once; a link says which one is in use.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/webhook-bridge
mkdir -p "$cache/bin"
exec 9>"$cache/lock" && flock 9 # several clones share the cache

fetch() { # a command that fetches what it has not yet, so that one more try goes on where the last one ended
  local pause
  for pause in 5 20; do
    "$@" && return
    echo "trying again in $pause s: $*" >&2
    sleep "$pause"
  done
  "$@"
}

packages() { # command=package …
  local missing=()
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} = 0 ] && return
  echo "installing ${missing[*]}"
  apt-get update -qq -o Acquire::Retries=3
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Acquire::Retries=3 --no-install-recommends "${missing[@]}" >/dev/null
}

base() { # the image's base, for machines that can pull none: Debian with Python, as an archive
  local archive="base-$1-${2//,/+}.tar"
  [ -f "$cache/$archive" ] || {
    echo "making a base image (once, about two minutes)"
    rm -rf "$cache/base"
    debootstrap --variant=minbase --include="$2" "$1" "$cache/base" >"$cache/base.log" 2>&1 \
      || { tail -5 "$cache/base.log" >&2; exit 1; }
    tar -C "$cache/base" --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' -cf "$cache/$archive.part" .
    mv "$cache/$archive.part" "$cache/$archive"
    rm -rf "$cache/base"
  }
  ln -sf "$archive" "$cache/base.tar"
}

helm() { # pinned: what it renders is compared byte for byte
  [ -x "$cache/helm-$1/helm" ] || {
    echo "building helm (once, about three minutes)"
    GOBIN="$cache/helm-$1" fetch go install "helm.sh/helm/v3/cmd/helm@$1"
  }
  ln -sf "$cache/helm-$1/helm" "$cache/bin/helm"
}

compose() { # the reference reader of compose files
  local folder="$cache/compose-spec-$1"
  [ -x "$folder/cmd" ] || GOBIN="$folder" fetch go install "github.com/compose-spec/compose-go/v2/cmd@$1"
  ln -sf "$folder/cmd" "$cache/bin/compose-spec"
}

nats_cli() { # what consumers look at a stream with
  [ -x "$cache/nats-$1/nats" ] || GOBIN="$cache/nats-$1" fetch go install "github.com/nats-io/natscli/nats@$1"
  ln -sf "$cache/nats-$1/nats" "$cache/bin/nats"
}

crds() { # the definitions of what the chart may use beyond Kubernetes itself
  mkdir -p "$cache/crds"
  crd sigs.k8s.io/gateway-api@v1.4.1 httproutes config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
  crd github.com/prometheus-operator/prometheus-operator@v0.85.0 servicemonitors \
    example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
}

crd() { # module, name, file
  local file="$2-${1##*@}.yaml" folder
  [ -f "$cache/crds/$file" ] || {
    folder=$(cd "$cache" && fetch go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
    install -m 644 "$folder/$3" "$cache/crds/$file"
  }
  ln -sf "$file" "$cache/crds/$2.yaml"
}

apiserver() { # Kubernetes' own API server, for real installs; its folder is named by what it is built from, too
  local folder sources
  sources=$(cat "$here"/kube/* | sha256sum | cut -c 1-12)
  folder="$cache/kube-$1-$sources"
  [ -x "$folder/kube-apiserver" ] || {
    echo "building kube-apiserver (once, about five minutes)"
    mkdir -p "$folder" && cp "$here"/kube/* "$folder/"
    # its own build sets the version, which the chart's kubeVersion is held against
    (cd "$folder" && fetch go build -ldflags "-X k8s.io/component-base/version.gitVersion=$1" -o kube-apiserver .)
  }
  ln -sf "$folder/kube-apiserver" "$cache/bin/kube-apiserver"
}

node_packages() { # the official AsyncAPI parser, as the lock file says
  cmp -s "$here/node/package-lock.json" "$cache/node/package-lock.json" && return
  rm -rf "$cache/node" "$cache/node.part" && mkdir "$cache/node.part" && cp "$here"/node/package*.json "$cache/node.part"
  fetch npm --prefix "$cache/node.part" ci --ignore-scripts --no-audit --no-fund --silent
  mv "$cache/node.part" "$cache/node"
}

command -v go >/dev/null || { echo "Go 1.26 or newer is needed, for helm and the Kubernetes API server" >&2; exit 1; }
packages buildah=buildah debootstrap=debootstrap unshare=util-linux nginx=nginx-light etcd=etcd-server kcat=kcat openssl=openssl curl=curl \
  chromium=chromium node=nodejs npm=npm
node_packages
base bookworm python3,python3-venv,ca-certificates
helm v3.22.0
compose v2.16.2
nats_cli v0.5.0
crds
apiserver v1.34.4 # as in kube/go.mod
for example in real-time typescript; do fetch make -s -C "$here/../../examples/$example" node_modules; done
