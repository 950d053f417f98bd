"""`selftest` says that the whole way works when it does, and what does not when it does not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from tests.brokers import NatsServer
from tests.conftest import KafkaSpace
from tests.processes import TOKEN, BridgeProcess, on_kafka

Make = Callable[..., BridgeProcess]


def test_a_self_test_sees_its_own_event_on_the_topic_of_its_source(bridge: Make) -> None:
    running = bridge(BRIDGE_SOURCES="chatlevel,probe=chatlevel", BRIDGE_SOURCE_PROBE_TOKEN=TOKEN).start()
    httpx.post(running.url.replace("chatlevel", "probe"), content=b"{}")
    done = running.cli("selftest", "--source", "probe", "--url", f"http://127.0.0.1:{running.port}")
    assert done.returncode == 0, done.stderr
    _letter, message = running.stored()
    assert done.stdout == f"{message.headers['ce-id']} came through to {message.subject}\n"
    assert message.subject.startswith("events.probe.")


def test_a_self_test_fails_on_a_wrong_answer_and_shows_no_token(bridge: Make) -> None:
    running = bridge().start()
    running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"] = "another-token-0123456789"
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
