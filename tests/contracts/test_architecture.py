"""The house as ARCHITECTURE.md draws it."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generated import ROOT

BRIDGE = ROOT / "bridge"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in BRIDGE.rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)


def test_imports_go_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_exports_what_it_says(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    if name == "bridge.publishers.leash":
        return  # a program, not a library
    tree = ast.parse(Path(str(module.__file__)).read_text())
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    public = {item for item in own if not item.startswith("_")}
    assert all(hasattr(module, item) for item in module.__all__)
    assert public <= set(module.__all__), f"{name}.__all__ lacks {public - set(module.__all__)}"


def test_every_room_is_on_the_plan() -> None:
    plan = (BRIDGE / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"^\| `([a-z_.]+)/?`", plan, re.MULTILINE))
    rooms = {path.name for path in BRIDGE.iterdir() if path.name not in ("__init__.py", "__main__.py", "__pycache__")}
    assert rooms - {"ARCHITECTURE.md", "errors.py", "py.typed"} == named


def test_files_stay_small() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in BRIDGE.rglob("*.py")}
    assert not {str(path): size for path, size in sizes.items() if size > 400}


def test_settings_are_read_in_one_place() -> None:
    """The commands hand the environment to `load`; nothing else looks for a setting there."""
    for path in BRIDGE.rglob("*.py"):
        if "cli" not in path.parts:
            code = path.read_text()
            assert not re.search(r"environ\W+BRIDGE_|getenv", code), path
            assert "os.environ" not in code.replace('os.environ.get("NO_COLOR")', "").replace("`os.environ`", ""), path
