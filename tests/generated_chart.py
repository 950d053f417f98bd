"""The derived files of the Helm chart: settings in its values, schema and README. Called by `tests.generated`."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from bridge.config import helm

CHART = Path(__file__).parent.parent / "helm" / "webhook-bridge"
_KEY = re.compile(r"^( *)([A-Za-z]+):(.*)$")


def chart_files() -> dict[Path, bytes]:
    """Path -> content. What is written by hand in a file stays."""
    values = _values((CHART / "values.yaml").read_text())
    return {
        CHART / "values.yaml": values.encode(),
        CHART / "values.schema.json": _schema((CHART / "values.schema.json").read_text()).encode(),
        CHART / "templates" / "_defaults.tpl": helm.helm_defaults().encode(),
        CHART / "README.md": replaced(
            (CHART / "README.md").read_text(), {"values": _table(values)}, where="the chart's README"
        ).encode(),
    }


def replaced(text: str, parts: dict[str, str], *, where: str, mark: str = "<!-- {} -->") -> str:
    """The text with its parts between `gen:NAME` and `/gen:NAME` made anew.

    Raises:
        SystemExit: a part is not there exactly once.
    """
    for name, content in parts.items():
        begin, end = (re.escape(mark.format(f"{slash}gen:{name}")) for slash in ("", "/"))
        pattern = re.compile(rf"({begin}\n).*?({end})", re.DOTALL)
        new = content.strip("\n")
        text, count = pattern.subn(lambda match, new=new: f"{match[1]}{new}\n{match[2]}", text)
        if count != 1:
            raise SystemExit(f"{where} needs one part gen:{name}, it has {count}")
    return text


def _values(text: str) -> str:
    source = "\n".join(f"# {line}".rstrip() for line in helm.helm_source().splitlines())
    parts = {"config": helm.helm_config(), "source": source, "secrets": helm.helm_secrets()}
    return replaced(text, parts, where="values.yaml", mark="# {}")


def _schema(text: str) -> str:
    schema: dict[str, Any] = json.loads(text)
    schema["definitions"] |= helm.helm_definitions()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _table(values: str) -> str:
    """Each value with its default and the comment above it."""
    rows, path, comment = ["| Value | Default | Meaning |", "|---|---|---|"], [""], ""
    generated = False
    for line in values.splitlines():
        generated = (generated or "# gen:" in line) and "# /gen:" not in line
        key = _KEY.match(line)
        if line.lstrip().startswith("# ") and not generated and "gen:" not in line:
            comment = f"{comment} {line.strip()[2:]}".strip()
        elif key:
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if key[3].strip():
                if not comment:
                    raise SystemExit(f"values.yaml: {'.'.join(path)} has no comment above it that says what it is")
                rows.append(f"| `{'.'.join(path)}` | `{_default(key[3])}` | {comment.replace('|', chr(92) + '|')} |")
            comment = ""
        else:
            comment = ""
    return "\n".join(rows)


def _default(text: str) -> str:
    return json.dumps(yaml.safe_load(text), ensure_ascii=False)
