"""Everything derived from the code: `python -m tests.generated` writes it, `--check` tells what is stale.

Never edit a generated file or a generated part of a file by hand.
"""

import json
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import cast

import click

from bridge.cli import main as cli
from bridge.cli.command import Example
from bridge.config import env_example, variables_table
from bridge.config.render import own_variables_table
from bridge.config.variables import built_in_variables
from bridge.events.model import EventType
from bridge.events.schemas import all_schemas
from bridge.ingest.outcomes import ACCEPTED, DEAD_LETTERED, OUTCOMES
from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.base import Provider
from bridge.providers.proof import URL_TOKEN
from bridge.telemetry.metrics import METRICS
from tests.generated_chart import chart_files, replaced
from tests.generated_delivery import proofs_table, truth_table
from tests.generated_licences import licences_table
from tests.generated_typescript import typescript
from tests.providers.goldens import outputs

ROOT = Path(__file__).parent.parent
RELEASED = ROOT / "schemas" / "released.json"


def event_types() -> set[EventType]:
    """Those of all providers."""
    return {event_type for provider in PROVIDERS.values() for event_type in provider.event_types}


def schemas() -> dict[str, bytes]:
    """Path below schemas/ -> content, of all providers."""
    return all_schemas(event_types())


def outcomes_table() -> str:
    """The README's table of answers."""
    rows = ["| status | `error` | meaning |", "|---|---|---|"]
    for outcome in OUTCOMES:
        accepted = outcome in (ACCEPTED, DEAD_LETTERED)
        status = "the provider's success, mostly 200" if accepted else str(outcome.status or "none")
        code = "" if accepted else f"`{outcome.code}`"
        retry = f" (Retry-After: {outcome.retry_after_s})" if outcome.retry_after_s else ""
        rows.append(f"| {status} | {code} | {outcome.meaning}{retry} |")
    return "\n".join(rows)


def topics_table() -> str:
    """The README's table of types and topics."""
    rows = ["| topic | CloudEvents `type` | what happened | schema |", "|---|---|---|---|"]
    for event_type in PROVIDERS["chatlevel"].event_types:
        what = (event_type.data.__doc__ or "").split("\n")[0]
        path = f"schemas/{event_type.schema_path}"
        name, ce_type = event_type.name, event_type.ce_type
        rows.append(f"| `events.<source>.{name}` | `{ce_type}` | {what} | [v{event_type.version}]({path}) |")
    return "\n".join(rows)


def providers_table() -> str:
    """The table of docs/providers.md."""
    rows = ["| provider | proof | success, within | tries again after |", "|---|---|---|---|"]
    for name in sorted(BUILT_IN):
        provider = PROVIDERS[name]
        proofs = _proofs(provider)
        success = "any 2xx" if provider.any_2xx else str(provider.success_status)
        retries = ", ".join(f"{pause_s} s" for pause_s in provider.retry_plan_s) or "never"
        rows.append(f"| `{name}` | {proofs} | {success}, {provider.deadline_ms / 1000:g} s | {retries} |")
    return "\n".join(rows)


def _proofs(provider: Provider) -> str:
    if URL_TOKEN in provider.proofs:
        return "a token in the URL"
    schemes = " or ".join(dict.fromkeys(proof.scheme if proof.signs else "secret" for proof in provider.proofs))
    headers = " or ".join(dict.fromkeys(f"`{proof.header or 'authorization'}`" for proof in provider.proofs))
    tolerances = {proof.timestamp.tolerance_s for proof in provider.proofs if proof.timestamp}
    return f"{schemes} in {headers}" + (f", at most {max(tolerances)} s old" if tolerances else "")


def metrics_table() -> str:
    """The table of docs/metrics.md."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows)


def commands() -> dict[str, click.Command]:
    """Every command by name, in the order of `--help`; of a group its commands."""
    return dict(_commands(cli, ""))


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = cast("click.Command", group.get_command(context, name))
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def examples() -> list[Example]:
    """Those of every command's `--help`."""
    return [example for command in commands().values() for example in getattr(command, "examples", ())]


def commands_table() -> str:
    """The README's table of commands and their examples, from what `--help` says."""
    rows = ["| command | what it does |", "|---|---|"]
    for name, command in commands().items():
        what = (command.help or "").split("\n\n")[0].replace("\n", " ")
        rows.append(f"| `{name}` | {what} |")
    lines = (f"# {example.what}\n{example.line}" for example in examples())
    return "\n".join([*rows, "", "```sh", *lines, "```"])


# Files by hand with parts that are not, each between <!-- gen:name --> and <!-- /gen:name -->.
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "variables": variables_table,
        "answers": outcomes_table,
        "topics": topics_table,
        "commands": commands_table,
    },
    "docs/delivery.md": {"truth": truth_table, "proofs": proofs_table},
    "docs/licences.md": {"licences": licences_table},
    "docs/metrics.md": {"metrics": metrics_table},
    "docs/providers.md": {
        "providers": providers_table,
        "own-variables": lambda: own_variables_table(built_in_variables()),
    },
}


def with_parts(name: str) -> bytes:
    """A file with its generated parts made anew."""
    text = (ROOT / name).read_text()
    return replaced(text, {part: make() for part, make in PARTS[name].items()}, where=name).encode()


def released(current: dict[str, bytes]) -> bytes:
    """Hashes of released minors. A listed one never changes; new ones are added."""
    known: dict[str, str] = json.loads(RELEASED.read_bytes()) if RELEASED.exists() else {}
    merged = {path: sha256(content).hexdigest() for path, content in current.items()} | known
    return (json.dumps(merged, indent=2, sort_keys=True) + "\n").encode()


def files() -> dict[Path, bytes]:
    """Every generated file."""
    current = schemas()
    made = {ROOT / "schemas" / path: content for path, content in current.items()}
    made |= outputs()
    made |= chart_files()
    made[RELEASED] = released(current)
    made[ROOT / "schemas" / "events.d.ts"] = typescript(event_types())
    made |= {ROOT / name: with_parts(name) for name in PARTS}
    made[ROOT / ".env.example"] = env_example().encode()
    return made


def main() -> None:
    """Write, or with --check fail naming what is stale."""
    stale = [path for path, content in files().items() if not path.exists() or path.read_bytes() != content]
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit("stale, run `make gen`: " + ", ".join(str(path.relative_to(ROOT)) for path in stale))
        return
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
