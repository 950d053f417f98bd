"""What the system tests share. They need more than Python (see setup.sh), so `make system` runs them and CI does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import bridge, nats_process
from tests.system.containers import Buildah, Rootfs

__all__ = ["bridge", "nats_process"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is a system test; the marker keeps them out of `make test`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(300))  # whoever asks first waits until the image is built


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With a storage that belongs to this run; pytest would keep its gigabyte for three more."""
    buildah = Buildah(tmp_path_factory.mktemp("buildah"))
    yield buildah
    buildah("rm", "--all")
    buildah("rmi", "--all", "--force")


@pytest.fixture(scope="session")
def base(buildah: Buildah) -> str:
    """The base image's name."""
    return buildah.base()


@pytest.fixture(scope="session")
def image(buildah: Buildah, base: str) -> Iterator[Rootfs]:
    """The image as the Dockerfile makes it when nothing is asked for."""
    with buildah.mounted(buildah.build("webhook-bridge", base)) as rootfs:
        yield rootfs
