"""Images without a container engine: buildah builds, namespaces run. Only what the tests of the image need.

What runs has the image's own command, environment, user and working directory, a read-only root, and the machine's
network; its first process is number 1 of its process namespace, as under Kubernetes.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "webhook-bridge"

# The mounts a runtime makes; `$1` is the root, `$2` the user, `$3` a folder for /data or empty, `$4` one for
# /etc/webhook-bridge or empty.
_ENTER = """
set -e
root=$1 user=$2 data=$3 secrets=$4
shift 4
[ -z "$secrets" ] || mkdir -p "$root/etc/webhook-bridge"
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
[ -z "$data" ] || mount --bind "$data" "$root/data"
[ -z "$secrets" ] || mount --bind "$secrets" "$root/etc/webhook-bridge"
exec chroot --userspec="$user" --groups= "$root" env -i "$@"
"""


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, storage: Path) -> None:
        if os.geteuid() != 0 or shutil.which("buildah") is None:
            pytest.fail("the tests of the image need root and buildah: run `make system`")
        folders = ["--root", f"{storage}/root", "--runroot", f"{storage}/run"]
        self._globals = ["--storage-driver", "overlay", *folders]
        try:
            self("rm", self("from", "scratch"))
        except AssertionError:  # a container on overlay itself; copying every layer takes five times as long
            self._globals = ["--storage-driver", "vfs", *folders]

    def __call__(self, *arguments: str) -> str:
        command = ["buildah", *self._globals, *arguments]
        done = subprocess.run(
            command, env=os.environ | {"BUILDAH_ISOLATION": "chroot"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout.strip()

    def base(self) -> str:
        """The base image made by setup.sh."""
        archive = (CACHE / "base.tar").resolve()  # buildah unpacks no link
        if not archive.exists():
            pytest.fail(f"{archive} is missing: run `make system`")
        container = self("from", "scratch")
        self("add", "--quiet", container, str(archive), "/")
        self("commit", "--quiet", "--rm", container, "base")
        return "localhost/base"

    def build(self, tag: str, base: str, **build_args: str) -> str:
        """The Dockerfile, with nothing but what lies in the tree: no registry, no network."""
        arguments = [f"--build-arg={name}={value}" for name, value in ({"BASE": base} | build_args).items()]
        self("build", "--pull-never", "--network=none", "--layers=false", *arguments, "--tag", tag, str(ROOT))
        return tag

    @contextlib.contextmanager
    def mounted(self, image: str) -> Iterator["Rootfs"]:
        """The image's files, as long as it is open."""
        container = self("from", "--pull-never", image)
        try:
            inspected = json.loads(self("inspect", container))
            yield Rootfs(Path(self("mount", container)), inspected["OCIv1"]["config"])
        finally:
            self("rm", container)


class Rootfs:
    """An image's files and its configuration."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    def command(
        self,
        *arguments: str,
        data: Path | None = None,
        secrets: Path | None = None,
        entrypoint: bool = True,
        **env: str,
    ) -> list[str]:
        """What runs the image.

        Args:
            arguments: instead of the image's own.
            data: a folder mounted at /data; without one that is read-only too.
            secrets: a folder mounted at /etc/webhook-bridge.
            entrypoint: whether arguments go to the image's entry point.
            env: further environment.
        """
        user = self.config["User"]
        called = [*(self.config["Entrypoint"] if entrypoint else []), *(arguments or self.config["Cmd"])]
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in env.items())]
        inside = [f"--chdir={self.config['WorkingDir']}", *variables, *called]
        isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        mounts = [str(self.path), user, str(data or ""), str(secrets or "")]
        return [*isolate, "sh", "-c", _ENTER, "enter", *mounts, *inside]

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to its end."""
        return subprocess.run(
            self.command(*arguments, **options), capture_output=True, text=True, timeout=60, check=False
        )
