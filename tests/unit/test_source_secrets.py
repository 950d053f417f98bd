"""What a source's settings must be for its provider to prove its requests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from bridge.config import Config, Secret, describe, ensure_tokens, find_token, load, make_tables, reread_tokens
from bridge.config.render import own_variables_table
from bridge.config.variables import of_providers
from bridge.errors import ConfigError, Problem
from bridge.providers import PROVIDERS
from bridge.providers.base import Fault
from bridge.providers.proof import Proof
from bridge.providers.registry import Registry
from tests.stub_provider import StubProvider

GOOD = "k7Jq2mX9vB4tR8wZ1nLc"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BEYOND = {"BRIDGE_BROKER": "nats://nats:4222", "BRIDGE_LISTEN": "0.0.0.0:80"}


def problems(env: Mapping[str, str], **more: str) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as raised:
        load({**env, **more})
    return {problem.variable: problem for problem in raised.value.problems}


@pytest.mark.parametrize("preset", [name for name in PROVIDERS if PROVIDERS[name].signs])
def test_a_preset_and_a_secret_are_all_it_takes(preset: str) -> None:
    prefix = f"BRIDGE_SOURCE_{preset.upper().replace('-', '_')}"
    name = f"{prefix}_SECRET"
    env = {"BRIDGE_SOURCES": preset, **BEYOND}
    if any(proof.needs_url for proof in PROVIDERS[preset].proofs):
        assert set(problems(env)) == {name, f"{prefix}_PUBLIC_URL"}
        env[f"{prefix}_PUBLIC_URL"] = "https://hooks.example.com"
    assert set(problems(env)) == {name}
    config = load({name: f"{WHSEC} {WHSEC}2k4=", **env})
    source, provider = config.source(preset), PROVIDERS[preset]
    assert source.verify == "secret"
    assert len(source.secrets) == 2
    assert (source.success_status, source.deadline_ms) == (provider.success_status, provider.deadline_ms)


@pytest.mark.parametrize(
    ("preset", "secret", "found"),
    [
        ("github", "sh0rt", "the secret has 5 characters"),
        ("github", GOOD[:15], "the secret has 15 characters"),
        ("github", "abcd" * 5, "looks like a placeholder"),
        ("github", "changeme-changeme-changeme", "looks like a placeholder"),
        ("github", "aaaaaaaaaaaaaaaaaaaa", "looks like a placeholder"),
        ("svix", "whsec_not*base64*at*all", "the secret is not base64"),
        ("svix", "whsec_", "the secret is empty"),
        ("svix", f"{WHSEC},whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret 2 of 2 is not base64"),
    ],
)
def test_a_secret_that_proves_nothing_is_refused_and_not_shown(preset: str, secret: str, found: str) -> None:
    env = {"BRIDGE_SOURCES": preset, f"BRIDGE_SOURCE_{preset.upper()}_SECRET": secret}
    ((variable, problem),) = problems(env).items()
    assert variable == f"BRIDGE_SOURCE_{preset.upper()}_SECRET"
    assert found in problem.found
    assert secret not in str(problem)


def test_a_secret_just_long_and_mixed_enough_is_taken() -> None:
    for secret in (GOOD[:16], "abcde" * 4):
        assert load({"BRIDGE_SOURCES": "github", "BRIDGE_SOURCE_GITHUB_SECRET": secret})


TWILIO = {"BRIDGE_SOURCES": "twilio", "BRIDGE_SOURCE_TWILIO_SECRET": GOOD}
PROXIES = "BRIDGE_SOURCE_TWILIO_TRUSTED_PROXIES"


def test_where_the_url_is_signed_it_is_set_or_a_proxy_is_trusted_to_tell_it() -> None:
    (problem,) = problems(TWILIO).values()
    assert problem.variable == "BRIDGE_SOURCE_TWILIO_PUBLIC_URL"
    assert problem.found == "is not set, while twilio signs the URL that it calls"
    assert PROXIES in problem.expected
    source = load({**TWILIO, PROXIES: "10.0.0.7, 10.1.0.0/16 fd00::/8"}).source("twilio")
    assert source.trusted_proxies == ("10.0.0.7", "10.1.0.0/16", "fd00::/8")
    assert load({**TWILIO, "BRIDGE_SOURCE_TWILIO_PUBLIC_URL": "https://hooks.example.com"})
    assert load({"BRIDGE_SOURCES": "twilio", "BRIDGE_SOURCE_TWILIO_VERIFY": "none"}), "nothing is proven"


def test_what_is_no_proxy_is_named_all_at_once() -> None:
    wrong = ("10.0.0.1/8", "proxy.internal", "0.0.0.0/0", "::/0", "10.0.0.7:80", "10.0.0.256")
    (problem,) = problems({**TWILIO, PROXIES: ",".join((*wrong, "10.0.0.7"))}).values()
    assert problem.variable == PROXIES
    assert all(repr(text) in problem.found for text in wrong)
    assert "'10.0.0.7'" not in problem.found


@pytest.mark.parametrize(
    "env",
    [
        {"BRIDGE_SOURCES": "twilio=github", "BRIDGE_SOURCE_TWILIO_SECRET": GOOD},
        {"BRIDGE_SOURCES": "twilio", "BRIDGE_SOURCE_TWILIO_VERIFY": "none"},
        {"BRIDGE_SOURCES": "twilio", "BRIDGE_SOURCE_TWILIO_VERIFY": "token", "BRIDGE_SOURCE_TWILIO_TOKEN": GOOD},
    ],
)
def test_a_proxy_that_nobody_asks_is_refused(env: dict[str, str]) -> None:
    (problem,) = problems({**env, PROXIES: "10.0.0.7"}).values()
    assert (problem.variable, problem.expected) == (PROXIES, "the variable unset")


def test_one_proof_is_asked_for_and_no_other_is_set() -> None:
    github = {"BRIDGE_SOURCES": "github"}
    both = {"BRIDGE_SOURCE_GITHUB_TOKEN": GOOD, "BRIDGE_SOURCE_GITHUB_SECRET": GOOD}
    assert set(problems({**github, **both})) == {"BRIDGE_SOURCE_GITHUB_VERIFY"}
    for open_too in ("BRIDGE_SOURCE_GITHUB_TOKEN", "BRIDGE_SOURCE_GITHUB_SECRET"):
        found = problems({**github, open_too: GOOD, "BRIDGE_SOURCE_GITHUB_VERIFY": "none"})
        assert set(found) == {"BRIDGE_SOURCE_GITHUB_VERIFY"}
    by_token = load({**github, "BRIDGE_SOURCE_GITHUB_TOKEN": GOOD, "BRIDGE_SOURCE_GITHUB_VERIFY": "token", **BEYOND})
    assert [token.reveal() for token in by_token.source("github").secrets] == [GOOD]
    (problem,) = problems({"BRIDGE_SOURCE_CHATLEVEL_VERIFY": "secret"}).values()
    assert "chatlevel signs nothing" in problem.found


def test_a_secret_is_made_for_trying_out_and_send_finds_it(tmp_path: Path) -> None:
    names = ("github", "svix", "telegram")
    loaded = load({"BRIDGE_SOURCES": ",".join(names), "BRIDGE_DATA_DIR": str(tmp_path)})
    config = ensure_tokens(loaded)
    for name in names:
        (made,) = config.source(name).secret
        assert made == find_token(loaded, name)
        assert made.reveal().startswith("whsec_") == (name == "svix")
    assert ensure_tokens(loaded) == config
    (tmp_path / "tokens" / "svix").write_text("*" * 43)
    with pytest.raises(ConfigError, match="BRIDGE_SOURCE_SVIX_SECRET"):
        ensure_tokens(loaded)


def test_types_that_are_declared_have_topics_from_the_start() -> None:
    env = {"BRIDGE_SOURCES": "github", "BRIDGE_SOURCE_GITHUB_TYPES": "push, pull_request.opened unknown"}
    config = load({**env, "BRIDGE_BROKER": "kafka://kafka:9092"})
    table = make_tables(config, PROVIDERS)["github"]
    topics = {topic for topic, _ in table.topics()}
    assert topics == {"events.github.push", "events.github.pull_request.opened", "events.github.unknown"}
    assert table.source.fallback.name == "unknown"
    assert [route.topic for route in table.find("issues.opened").routes] == ["events.github.unknown"]
    for text, found in (("Push", "'Push'"), ("a..b", "'a..b'"), ("orders/create", "'orders/create'")):
        (problem,) = problems({**env, "BRIDGE_SOURCE_GITHUB_TYPES": text}).values()
        assert found in problem.found
    (problem,) = problems({"BRIDGE_SOURCE_CHATLEVEL_TYPES": "call"}).values()
    assert "all types of chatlevel are known" in problem.found


@pytest.mark.parametrize(
    ("content", "found"), [("sh0rt", "5 characters"), ("", "is empty"), (f"{GOOD}\nchangeme-changeme", "secret 2 of 2")]
)
def test_a_file_of_secrets_that_changes_is_held_to_the_same_rules(content: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(GOOD)
    source = load({"BRIDGE_SOURCES": "github", "BRIDGE_SOURCE_GITHUB_SECRET_FILE": str(path)}).source("github")
    path.write_text(f"{GOOD} {GOOD}2")
    proofs = PROVIDERS["github"].proofs
    assert [secret.reveal() for secret in reread_tokens(source, path, proofs)] == [GOOD, f"{GOOD}2"]
    path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        reread_tokens(source, path, proofs)
    (problem,) = raised.value.problems
    assert problem.variable == "BRIDGE_SOURCE_GITHUB_SECRET_FILE"
    assert found in problem.found


class Own(msgspec.Struct, frozen=True):
    header: Annotated[str, Meta(description="Where the signature is.", examples=["x-signature"])] = "x-own"
    verify_token: Annotated[Secret | None, Meta(description="What a question must show.")] = None


class WithSettings(StubProvider):
    settings = Own

    def __init__(self, header: str = "x-own") -> None:
        super().__init__("own", proofs=(Proof(scheme="hmac-sha256", header=header),))

    def configured(self, settings):
        return WithSettings(settings.header)

    def faults(self, settings):
        if not settings.header.startswith("x-"):
            yield Fault("header", "is no header of ours", "one that begins with x-")


def own(**more: str) -> Config:
    return load({"BRIDGE_SOURCES": "hub=own", **more}, providers={"own": WithSettings()})


def test_a_provider_has_variables_of_its_own() -> None:
    config = own(BRIDGE_SOURCE_HUB_HEADER="x-sig", BRIDGE_SOURCE_HUB_VERIFY_TOKEN=GOOD)
    assert config.source("hub").own == Own("x-sig", Secret(GOOD))
    assert own().source("hub").own == Own()
    assert describe(config)["sources"]["hub"]["header"] == "x-sig"
    assert GOOD not in repr(config) + str(describe(config))
    with pytest.raises(ConfigError, match="BRIDGE_SOURCE_HUB_HEADER: is no header of ours"):
        own(BRIDGE_SOURCE_HUB_HEADER="sig")
    with pytest.raises(ConfigError, match="BRIDGE_SOURCE_CHATLEVEL_HEADER"):
        load({"BRIDGE_SOURCE_CHATLEVEL_HEADER": "x-sig"})


def test_variables_of_providers_are_listed_once_with_whose_they_are() -> None:
    found = of_providers({"own": Own, "plain": None, "twin": Own})
    assert [(variable.name, owners) for variable, owners in found] == [
        ("BRIDGE_SOURCE_<NAME>_HEADER", ("own", "twin")),
        ("BRIDGE_SOURCE_<NAME>_VERIFY_TOKEN", ("own", "twin")),
    ]
    _, _, header, token = own_variables_table(found).splitlines()
    assert header.startswith("| `BRIDGE_SOURCE_<NAME>_HEADER` | `own`, `twin` | `x-own` | Where the signature is.")
    assert token.endswith("What a question must show. Secret. |")
    assert own_variables_table(()) == ""


def test_variables_of_a_provider_clash_with_nobody_elses() -> None:
    """Source `a` with `VERIFY_TOKEN`, and source `a-verify` with `TOKEN`."""
    with pytest.raises(ConfigError, match="makes BRIDGE_SOURCE_A_VERIFY_TOKEN mean two things"):
        load({"BRIDGE_SOURCES": "a=own,a-verify=own"}, providers={"own": WithSettings()})


@pytest.mark.parametrize(
    ("code", "found"),
    [("raise OSError('no disk')", "OSError: no disk"), ("Toy = object", "is no"), ("x = 1", "AttributeError")],
)
def test_a_broken_provider_of_another_package_harms_its_own_sources_alone(
    code: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"broken_toy_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code)
    info = tmp_path / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    entries = f"toy = {module}:Toy\ngithub = {module}:Toy\n"
    (info / "entry_points.txt").write_text(f"[webhook_bridge.providers]\n{entries}")
    monkeypatch.syspath_prepend(str(tmp_path))
    providers = Registry()

    assert "toy" in providers
    assert list(providers).count("github") == 1
    assert providers["github"].__class__ is PROVIDERS["github"].__class__, "our own names cannot be taken"
    assert load({"BRIDGE_SOURCES": "github"}, providers=providers).source("github")
    with pytest.raises(ConfigError, match="names a provider that does not load") as raised:
        load({"BRIDGE_SOURCES": "github,toy"}, providers=providers)
    assert found in str(raised.value)
