"""The environment becomes a `Config`, or a `ConfigError` with every problem there is. Nothing is written here."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.reader import Reader
from bridge.config.routes import make_tables
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.sources import read_sources
from bridge.config.validate import validate
from bridge.config.variables import variables
from bridge.errors import ConfigError, Problem
from bridge.providers.base import Provider
from bridge.routing import text_problems

__all__ = ["load", "survey"]

_PREFIX = "BRIDGE_"


def load(env: Mapping[str, str], *, providers: Mapping[str, Provider] | None = None) -> Config:
    """Read and check all settings.

    Reads the files that `…_FILE` variables name, and writes none. Tokens that the bridge makes itself are not there
    yet: `ensure_tokens`.

    Args:
        env: such as `os.environ`. Only names that begin with BRIDGE_ count.
        providers: name -> provider; the built-in ones if not given.

    Raises:
        ConfigError: with all problems; no message has a secret's value.
    """
    config, problems = survey(env, providers=providers)
    if problems:
        raise ConfigError(problems)
    return config


def survey(
    env: Mapping[str, str], *, providers: Mapping[str, Provider] | None = None
) -> tuple[Config, tuple[Problem, ...]]:
    """As much of the settings as can be read, and all problems. For commands that look and do not serve.

    Defaults stand where a setting cannot be read, and a source that cannot be is left out. Settings that do not go
    together, rules of routing among them, are as they are.

    Args:
        env: as of `load`.
        providers: as of `load`.
    """
    if providers is None:
        from bridge.providers import PROVIDERS  # noqa: PLC0415 -- rendering settings must not import every provider

        providers = PROVIDERS
    reader = Reader(env)
    own = {
        variable.field: reader.read(variable, variable.name)
        for variable in variables(Config)
        if variable.field != "sources"
    }
    nats = {variable.field: reader.read(variable, variable.name) for variable in variables(NatsConfig)}
    kafka = {variable.field: reader.read(variable, variable.name) for variable in variables(KafkaConfig)}
    sources = read_sources(reader, providers, dedup_window_s=own["dedup_window_s"])
    config = Config(**own, nats=NatsConfig(**nats), kafka=KafkaConfig(**kafka), sources=sources)
    if "BRIDGE_PROVISION" not in reader.given and config.broker.kind != "embedded":
        config = msgspec.structs.replace(config, provision="check")
    problems = [
        *reader.problems,
        *_unknown(env, reader, config.sources),
        *validate(config, reader.given, reader.broken),
    ]
    if reader.broken.isdisjoint(("BRIDGE_ROUTES", "BRIDGE_TOPIC_TEMPLATE")):
        problems += _of_routing(config, providers, reader)
    return config, tuple(problems)


def _of_routing(config: Config, providers: Mapping[str, Provider], reader: Reader) -> tuple[Problem, ...]:
    if "BRIDGE_SOURCES" in reader.broken:  # which rules fit them is not known yet
        return tuple(text_problems(config.routes, config.topic_template))
    try:
        make_tables(config, providers)
    except ConfigError as error:
        return error.problems
    return ()


def _unknown(env: Mapping[str, str], reader: Reader, sources: Sequence[SourceConfig]) -> Iterator[Problem]:
    links = _service_links(env)
    known = sorted(name.removeprefix(_PREFIX) for name in reader.known)
    for name in sorted(env):
        if not name.startswith(_PREFIX) or name in reader.known or (links and links.fullmatch(name)):
            continue
        if name.startswith("BRIDGE_SOURCE_"):
            if "BRIDGE_SOURCES" in reader.broken:
                continue  # perhaps right, once the sources are
            hint = "a source that BRIDGE_SOURCES names and one of its variables"
        else:
            hint = "one of the variables in the README"
        found, alike = "is no variable of this version", 0.6
        if name.startswith("BRIDGE_SOURCE_") and not any(name.startswith(source.variable("")) for source in sources):
            names = ", ".join(source.name for source in sources)
            hint = f"that source named there beside {names}, or the variable unset"
            found, alike = "is of a source that BRIDGE_SOURCES does not name", 0.9  # another source's is no help
        near = difflib.get_close_matches(name.removeprefix(_PREFIX), known, 1, alike)
        yield Problem(name, found, f"{_PREFIX}{near[0]}, perhaps" if near else hint)


def _service_links(env: Mapping[str, str]) -> re.Pattern[str] | None:
    """What Kubernetes puts into every container for a Service called `bridge` or `bridge-…`.

    BRIDGE_SERVICE_HOST, BRIDGE_PORT=tcp://…, BRIDGE_PORT_8080_TCP_ADDR and so on ("Accessing the Service" in its
    documentation); they are not the operator's mistake. Only with the pair of host and port, for BRIDGE_PORT=8080
    alone is one.
    """
    services = [
        re.escape(name.removesuffix("_SERVICE_HOST"))
        for name in env
        if name.startswith(_PREFIX) and name.endswith("_SERVICE_HOST") and f"{name[:-5]}_PORT" in env
    ]
    if not services:
        return None
    port = r"PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
    return re.compile(rf"({'|'.join(services)})_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|{port})")
