"""The licences of what the image holds, from the metadata of the very packages. Called by `tests.generated`."""

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements" / "image.txt"
_NOT_ON_LINUX = {"colorama", "tzdata"}  # their markers say Windows
# Where the metadata names no licence in a form of its own, what the package's licence file says.
_BY_FILE = {"rich-click": "MIT"}


def image_packages() -> list[str]:
    """The names of all Python packages that the image gets, the bridge's own not among them."""
    names = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", REQUIREMENTS.read_text(), re.MULTILINE)
    return sorted(set(names) - _NOT_ON_LINUX)


def licences_table() -> str:
    """Package and licence, one a row."""
    rows = ["| package | licence |", "|---|---|"]
    rows += [f"| {name} | {_licence(name)} |" for name in image_packages()]
    return "\n".join(rows)


def _licence(name: str) -> str:
    try:
        found = metadata(name)
    except PackageNotFoundError:
        raise SystemExit(f"{name} is in requirements/image.txt and not installed: make .venv/bin/.dev") from None
    licence = _BY_FILE.get(name) or found.get("License-Expression") or _classified(found) or found.get("License")
    if not licence or "\n" in licence:
        raise SystemExit(f"{name} names no licence in its metadata: read its licence file and add it to _BY_FILE")
    return licence


def _classified(found: PackageMetadata) -> str:
    prefix = "License :: OSI Approved :: "
    names = [text.removeprefix(prefix) for text in found.get_all("Classifier") or [] if text.startswith(prefix)]
    return ", ".join(names)
