"""The chart's settings follow the bridge's."""

import json
import re
import tomllib
from typing import Any

import jsonschema
import yaml

from bridge.config import SourceConfig, variables
from bridge.config.helm import helm_config, helm_defaults, helm_definitions, helm_secrets, helm_source
from bridge.config.variables import built_in_variables
from bridge.providers import BUILT_IN, PROVIDERS
from tests.generated_chart import CHART

# Values of their own in the chart, or nothing that a pod may choose.
OWNED = {"BROKER", "DATA_DIR", "EMBEDDED_LISTEN", "LISTEN", "OPS_LISTEN", "ROUTES", "SOURCES", "SPOOL"}


def uncommented(text: str) -> Any:
    """What the block says once every setting in it is uncommented."""
    lines = re.findall(r"^ *# ([A-Z_0-9]+: .*)$", text, re.MULTILINE)
    return yaml.safe_load("\n".join(lines))


def test_every_setting_is_in_the_chart_once() -> None:
    definitions = helm_definitions()
    shared = [*definitions["config"]["properties"], *definitions["secrets"]["properties"]]
    own = [*definitions["sourceConfig"]["properties"], *definitions["sourceSecrets"]["properties"]]
    names = [variable.name for variable in variables() if variable.owner is not SourceConfig]
    assert sorted(shared + [f"BRIDGE_{name}" for name in OWNED]) == sorted(names)
    of_sources = [*variables(SourceConfig), *(variable for variable, _ in built_in_variables())]
    assert sorted(own) == sorted(variable.field.upper() for variable in of_sources)


def test_no_secret_can_be_a_plain_value() -> None:
    definitions = helm_definitions()
    for variable in variables():
        if variable.secret:
            name = variable.name.removeprefix("BRIDGE_SOURCE_<NAME>_")
            assert name not in definitions["config"]["properties"]
            assert name not in definitions["sourceConfig"]["properties"]


def test_the_commented_settings_are_values_that_the_schema_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for text, name in ((helm_config(), "config"), (helm_source(), "sourceConfig"), (helm_secrets(), "secrets")):
        values = uncommented(text)
        if name == "secrets":
            values = {variable: {"name": "login", "key": "password"} for variable in values}
        assert list(values) == list(helm_definitions()[name]["properties"])
        jsonschema.validate(values, schema["definitions"][name] | {"definitions": schema["definitions"]})


def test_the_defaults_that_templates_reckon_with_are_the_bridges() -> None:
    body = helm_defaults().split("\n", 1)[1].rpartition("{{-")[0]
    defaults = json.loads(body)
    assert defaults["BRIDGE_SHUTDOWN_TIMEOUT_MS"] == 10_000
    assert defaults["deadlines_ms"] == {name: PROVIDERS[name].deadline_ms for name in BUILT_IN} | {"other": 3000}


def test_the_charts_version_is_the_projects() -> None:
    """The image's tag is the chart's appVersion by default, and `config:` is that version's."""
    project = tomllib.loads((CHART.parent.parent / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project, project)


def errors_of(definition: str, value: Any) -> list[str]:
    """Where and what, of each fault."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    found = jsonschema.Draft7Validator(schema["definitions"][definition] | {"definitions": schema["definitions"]})
    return [f"{error.json_path}: {error.message}" for error in found.iter_errors(value)]


def test_a_wrong_value_of_any_setting_is_refused_where_it_stands() -> None:
    definitions = helm_definitions()
    for name in ("config", "sourceConfig"):
        for key, schema in definitions[name]["properties"].items():
            wrong = 7 if schema.get("type") in ("string", "array") else "wrong"
            (error,) = errors_of(name, {key: wrong})
            assert error.startswith(f"$.{key}: {wrong!r} is not "), error
    for name in ("secrets", "sourceSecrets"):
        for key in definitions[name]["properties"]:
            assert errors_of(name, {key: "plain"}) == [f"$.{key}: 'plain' is not of type 'object'"]


OTHERS = {"name": "a", "provider": "acme"}


def test_another_packages_provider_has_variables_of_its_own_and_no_plain_secrets() -> None:
    own = {"HEADER": "x-kind", "LIMIT": 3, "STRICT": True, "KINDS": ["a", "b"], "DEADLINE_MS": 2500}
    keys = {name: {"name": "webhook-bridge", "key": "a"} for name in ("TOKEN", "KEY", "CA_FILE")}
    for named in (OTHERS, {"name": "acme"}):
        assert errors_of("source", named | {"config": own, "secrets": keys}) == []
    refused = {"TOKEN": "x", "SECRET": "x", "KEY_FILE": "/run/key", "DEADLINE_MS": 50, "header": "x", "LIST": {}}
    for key, value in refused.items():
        (error, *_) = errors_of("source", OTHERS | {"config": {key: value}})
        assert key in error
    assert errors_of("source", OTHERS | {"secrets": {"KEY": "plain"}})


def test_our_own_providers_have_no_variables_but_those_that_are_known() -> None:
    for named in ({"name": "a", "provider": "github"}, {"name": "github"}):
        (error,) = errors_of("source", named | {"config": {"HEADER": "x"}})
        assert "'HEADER' was unexpected" in error
