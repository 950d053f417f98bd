import contextlib
from pathlib import Path

import pytest
import trustme

from bridge.config import (
    Secret,
    SourceConfig,
    broker_files,
    load,
    reread_login,
    reread_tokens,
    rereadable_certificate,
    token_file,
)
from bridge.errors import ConfigError
from tests.nats_keys import NatsOperator, new_key

GOOD = "k7Jq2mX9vB4tR8wZ1nLc"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "cannot be read: No such file"),
        ("", "is empty"),
        (" , \n", "has separators and nothing between them"),
        ("sh0rt", "the token has 5 characters"),
        (f"{GOOD}\nchangeme-changeme-changeme", "token 2 of 2 looks like a placeholder"),
        (b"\xff" * 20, "is not UTF-8 text"),
    ],
)
def test_what_the_start_would_refuse_is_refused_later_too(
    content: str | bytes | None, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = SourceConfig(name="shop", provider="chatlevel", token=(Secret(GOOD, path),))
    with pytest.raises(ConfigError) as raised:
        reread_tokens(source, path)
    (problem,) = raised.value.problems
    assert problem.variable == "BRIDGE_SOURCE_SHOP_TOKEN_FILE"
    assert found in problem.found
    assert "sh0rt" not in str(problem)


def test_several_tokens_are_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{GOOD}\n{GOOD}2, {GOOD}3\n")
    source = SourceConfig(name="shop", provider="chatlevel", token=(Secret(GOOD, path),))
    assert [token.reveal() for token in reread_tokens(source, path)] == [GOOD, f"{GOOD}2", f"{GOOD}3"]


CREDS = NatsOperator().creds(new_key(b"U"))


@pytest.mark.parametrize(
    ("variable", "content", "found"),
    [
        ("BRIDGE_KAFKA_PASSWORD", "", "is empty"),
        ("BRIDGE_NATS_PASSWORD", None, "cannot be read: No such file"),
        ("BRIDGE_NATS_NKEY", "SUNONSENSE", "is no user seed"),
        ("BRIDGE_NATS_CREDS", CREDS.replace("BEGIN USER NKEY SEED", "BEGIN"), "has no `BEGIN NATS USER JWT`"),
        ("BRIDGE_NATS_CREDS", CREDS[: CREDS.index(".")], "has no `BEGIN NATS USER JWT`"),
        ("BRIDGE_NATS_CREDS", CREDS.replace("SU", "SA"), "has no `BEGIN NATS USER JWT`"),
    ],
)
def test_a_bad_login_of_the_broker_is_refused_without_showing_it(
    variable: str, content: str | None, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "login"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as raised:
        reread_login(variable, path)
    (problem,) = raised.value.problems
    assert problem.variable == f"{variable}_FILE"
    assert found in problem.found
    assert not content or content not in str(problem)


def test_every_file_of_the_broker_is_looked_after(tmp_path: Path) -> None:
    """Whatever settings of files come later, too."""
    authority = trustme.CA()
    issued = authority.issue_cert("client.test")
    contents = {
        "ca": authority.cert_pem.bytes(),
        "cert": issued.cert_chain_pems[0].bytes(),
        "key": issued.private_key_pem.bytes(),
        "creds": CREDS.encode(),
        "password": b"secret",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    def watched(**env: str) -> list[str]:
        tls = {f"TLS_{name.upper()}_FILE": str(tmp_path / name) for name in ("ca", "cert", "key")}
        prefix = env.pop("prefix")
        files = broker_files(load({**env, **{f"{prefix}_{name}": path for name, path in tls.items()}}))
        return [f"{file.variable}: {' '.join(path.name for path in file.paths)}" for file in files]

    assert watched(prefix="BRIDGE_NATS", BRIDGE_BROKER="tls://a", BRIDGE_NATS_CREDS_FILE=f"{tmp_path}/creds") == [
        "BRIDGE_NATS_CREDS_FILE: creds",
        "BRIDGE_NATS_TLS_CA_FILE: ca cert key",
    ]
    kafka = {"BRIDGE_KAFKA_TLS": "true", "BRIDGE_KAFKA_SASL": "plain", "BRIDGE_KAFKA_USER": "bridge"}
    password = f"{tmp_path}/password"
    assert watched(
        prefix="BRIDGE_KAFKA", BRIDGE_BROKER="kafka://a:9092", BRIDGE_KAFKA_PASSWORD_FILE=password, **kafka
    ) == ["BRIDGE_KAFKA_PASSWORD_FILE: password", "BRIDGE_KAFKA_TLS_CA_FILE: ca cert key"]


def test_the_file_that_is_looked_after_is_the_one_that_the_tokens_are_in(tmp_path: Path) -> None:
    given, read = Secret(GOOD), Secret(GOOD, tmp_path / "token")
    assert token_file(SourceConfig(name="shop", provider="chatlevel", token=(given, read))) == tmp_path / "token"
    assert token_file(SourceConfig(name="shop", provider="chatlevel", token=(given,))) is None


def test_certificates_that_do_not_go_together_any_more_are_refused(tmp_path: Path) -> None:
    authority = trustme.CA()
    first, second = (authority.issue_cert(f"{name}.test") for name in ("first", "second"))
    paths = {name: tmp_path / name for name in ("ca", "cert", "key")}

    def write(ca: bytes, cert: trustme.LeafCert, key: trustme.LeafCert) -> None:
        paths["ca"].write_bytes(ca)
        paths["cert"].write_bytes(cert.cert_chain_pems[0].bytes())
        paths["key"].write_bytes(key.private_key_pem.bytes())

    good = authority.cert_pem.bytes()
    write(good, first, first)
    ours = {f"BRIDGE_TLS_{name.upper()}_FILE": str(paths[name]) for name in ("cert", "key")}
    brokers = {f"BRIDGE_NATS_TLS_{name.upper()}_FILE": str(path) for name, path in paths.items()}
    config = load({"BRIDGE_BROKER": "tls://a", **ours, **brokers})
    (files,) = broker_files(config)
    rereadable_certificate(config)
    files.check()

    for ca, cert, refused in ((good, second, (True, True)), (b"none", first, (False, True))):
        write(ca, cert, first)
        for check, wrong in zip((lambda: rereadable_certificate(config), files.check), refused, strict=True):
            with pytest.raises(ConfigError) if wrong else contextlib.nullcontext():
                check()
