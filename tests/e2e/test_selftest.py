"""`selftest` says that the whole way works when it does, and what does not when it does not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.keys import new_secret
from tests.brokers import NatsServer
from tests.conftest import KafkaSpace
from tests.processes import TOKEN, BridgeProcess, on_kafka, run_here

Make = Callable[..., BridgeProcess]


def test_a_self_test_sees_its_own_event_on_the_topic_of_its_source(bridge: Make) -> None:
    running = bridge(BRIDGE_SOURCES="chatlevel,probe=chatlevel", BRIDGE_SOURCE_PROBE_TOKEN=TOKEN).start()
    httpx.post(running.url.replace("chatlevel", "probe"), content=b"{}")
    done = running.cli("selftest", "--source", "probe", "--url", f"http://127.0.0.1:{running.port}")
    assert done.returncode == 0, done.stderr
    _letter, message = running.stored()
    assert done.stdout == f"{message.headers['ce-id']} came through to {message.subject}\n"
    assert message.subject.startswith("events.probe.")


def test_a_self_test_proves_itself_as_the_provider_of_its_source_does(bridge: Make) -> None:
    """Signed with the first of its secrets, with a token, or with nothing; with every answer that counts as success."""
    env = {"BRIDGE_SOURCES": "open=github,quiet=chatlevel", "BRIDGE_SOURCE_OPEN_VERIFY": "none"}
    env |= {"BRIDGE_SOURCE_QUIET_TOKEN": TOKEN, "BRIDGE_SOURCE_QUIET_SUCCESS_STATUS": "204"}  # which has no body
    for name in BUILT_IN:
        provider, prefix = PROVIDERS[name], f"BRIDGE_SOURCE_{name.upper().replace('-', '_')}"
        secrets = [new_secret(provider.proofs[0]) for _ in range(2)]
        env |= {f"{prefix}_SECRET": ",".join(secrets)} if provider.signs else {f"{prefix}_TOKEN": TOKEN}
        env |= {f"{prefix}_PUBLIC_URL": "https://hooks.example.com"} if provider.proofs[0].needs_url else {}
        env["BRIDGE_SOURCES"] += f",{name}"
    running = bridge(**env).start()
    for source in ("open", "quiet", *BUILT_IN):
        done = run_here("selftest", "--source", source, env=running.env)
        assert done.exit_code == 0, (source, done.output)
        assert f" came through to events.{source}." in done.output
    running.env["BRIDGE_SOURCE_STRIPE_SECRET"] = f"whsec_{TOKEN}"
    done = run_here("selftest", "--source", "stripe", env=running.env)
    assert done.exit_code == 1
    assert "answered 401" in done.output


def test_a_self_test_fails_on_a_wrong_answer_and_shows_no_token(bridge: Make) -> None:
    running = bridge().start()
    running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"] = "another-token-0123456789"
    running.env |= {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}  # which would see it
    done = running.cli("selftest")
    assert done.returncode == 1
    assert f"127.0.0.1:{running.port} answered 401" in done.stderr
    assert "another-token" not in done.stdout + done.stderr


def test_a_self_test_fails_where_nobody_answers_and_where_there_is_no_such_source(bridge: Make) -> None:
    absent = bridge()
    done = absent.cli("selftest")
    assert done.returncode == 1
    assert "no answer from 127.0.0.1" in done.stderr
    assert absent.cli("selftest", "--source", "shop").returncode == 2


def test_a_self_test_fails_if_the_event_is_not_where_the_configuration_says(
    bridge: Make, nats_process: NatsServer
) -> None:
    """The bridge publishes elsewhere than where the probe looks: a release of two minds."""
    nats_process.start()
    running = bridge(BRIDGE_BROKER=nats_process.url, BRIDGE_PROVISION="create").start()
    running.env["BRIDGE_TOPIC_TEMPLATE"] = "other.{source}.{type}"
    done = running.cli("selftest", "--timeout", "1")
    assert done.returncode == 1
    assert "not on its topic within 1 s" in done.stderr


def test_a_self_test_on_kafka_trusts_the_authority_that_it_is_given(
    bridge: Make, kafka_space: KafkaSpace, certificate: tuple[str, str, str], tmp_path: Path
) -> None:
    authority, chain, key = certificate
    running = on_kafka(partial(bridge, BRIDGE_TLS_CERT_FILE=chain, BRIDGE_TLS_KEY_FILE=key), kafka_space)
    url = f"https://localhost:{running.port}"
    done = running.cli("selftest", "--url", url, "--ca", authority)
    assert done.returncode == 0, done.stderr
    assert f"came through to {kafka_space.prefix}." in done.stdout

    public = tmp_path / "ca.crt"  # beside a certificate of a public authority: not there, or nothing in it
    for _step in range(2):
        done = running.cli("selftest", "--url", url, "--ca", str(public))
        assert done.returncode == 1
        assert "certificate verify failed" in done.stderr
        public.touch()
    public.write_text("nonsense")
    done = running.cli("selftest", "--url", url, "--ca", str(public))
    assert done.returncode == 2
    assert "holds no readable certificate" in done.stderr
