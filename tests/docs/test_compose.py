"""docker-compose.yml: held against the configuration, and run without containers, on the same servers and settings."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from bridge.config import Config, load
from tests.brokers import NATS_IMAGE, NatsServer, stored
from tests.generated import ROOT
from tests.kafka import KAFKA_IMAGE, KafkaServer
from tests.kafka_operator import KafkaOperator, stored_in_kafka
from tests.processes import TOKEN, BridgeProcess, wait_until
from tests.servers import LeashedServer

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
BRIDGES = {name: service for name, service in SERVICES.items() if name.startswith("bridge-")}
PORTS = {"nats": 4222, "kafka": 9092}  # where the programs of this machine look for them
TOPIC = "events.chatlevel.message.received"

each_bridge = pytest.mark.parametrize("name", BRIDGES)
each_service = pytest.mark.parametrize("name", SERVICES)


def broker_of(name: str) -> str:
    return name.removeprefix("bridge-")


def ports(name: str) -> list[tuple[str, int, int]]:
    found = [port.split(":") for port in SERVICES[name].get("ports", [])]
    return [(address, int(outside), int(inside)) for address, outside, inside in found]


def environment(name: str, token: Path) -> dict[str, str]:
    """As the container sees it, with the secret's file where the test has it."""
    env = {key: str(value) for key, value in BRIDGES[name]["environment"].items()}
    (secret,) = BRIDGES[name]["secrets"]
    assert env["BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE"] == f"/run/secrets/{secret}"
    token.write_text(TOKEN + "\n")
    return env | {"BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE": str(token)}


@each_service
def test_every_service_is_watched_restarted_and_reachable_from_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD", "no shell is needed"
    assert service["restart"] == "unless-stopped"
    assert service["profiles"] == [broker_of(name)]
    assert ports(name)
    assert {address for address, _outside, _inside in ports(name)} == {"127.0.0.1"}


@each_bridge
def test_a_bridge_starts_when_its_broker_is_healthy(name: str) -> None:
    assert BRIDGES[name]["depends_on"] == {broker_of(name): {"condition": "service_healthy"}}


def test_nothing_is_kept_but_in_a_volume_that_is_declared() -> None:
    for service in SERVICES.values():
        volumes = {volume.split(":")[0] for volume in service["volumes"]}
        assert volumes <= COMPOSE["volumes"].keys()
    (data,) = BRIDGES["bridge-nats"]["volumes"]
    assert data.split(":")[1] == BRIDGES["bridge-nats"]["environment"]["BRIDGE_DATA_DIR"]
    assert SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] in {v.split(":")[1] for v in SERVICES["kafka"]["volumes"]}


def test_the_brokers_are_those_that_tests_use() -> None:
    assert SERVICES["nats"]["image"] == NATS_IMAGE
    assert SERVICES["kafka"]["image"] == KAFKA_IMAGE


@each_bridge
def test_the_settings_are_accepted_and_meet_the_services(name: str, tmp_path: Path) -> None:
    config = load(environment(name, tmp_path / "token"))
    defaults = Config()
    assert ports(name) == [
        ("127.0.0.1", default.port, listen.port)
        for default, listen in ((defaults.listen, config.listen), (defaults.ops_listen, config.ops_listen))
    ]
    assert {listen.host for listen in (config.listen, config.ops_listen)} == {"0.0.0.0"}
    seconds = int(BRIDGES[name]["stop_grace_period"].removesuffix("s"))
    assert seconds * 1000 > config.shutdown_timeout_ms


def test_the_secret_of_the_readme_is_a_token(tmp_path: Path) -> None:
    file = COMPOSE["secrets"]["chatlevel-token"]["file"]
    (command,) = (line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("mkdir -p secrets"))
    assert command in (ROOT / "docker-compose.yml").read_text()
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    load(environment("bridge-nats", tmp_path / "token") | {"BRIDGE_SOURCE_CHATLEVEL_TOKEN_FILE": str(tmp_path / file)})
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", PORTS)
def test_a_broker_is_at_its_usual_port(name: str) -> None:
    assert ports(name) == [("127.0.0.1", PORTS[name], PORTS[name])]


class ComposedNats(NatsServer):
    """A server with the configuration of the file, at ports of its own."""

    def _write(self) -> None:
        content = COMPOSE["configs"]["nats"]["content"]
        for ours, own in {"/data": f"{self.folder}/store", "127.0.0.1:8222": "127.0.0.1:-1"}.items():
            assert ours in content
            content = content.replace(ours, own)
        self._file.write_text(f"listen: 127.0.0.1:{self.port}\nports_file_dir: {self.folder}\n{content}")


class ComposedKafka(KafkaServer):
    """A node with the environment of the file, at ports of its own. The image makes properties of it like this."""

    def _properties(self, store: Path) -> dict[str, object]:
        own = {"19092": self._operator_port, "9092": self.port, "29093": self.controller_port}
        lines: dict[str, object] = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): re.sub(
                r"(@|://)[a-z0-9.]*:(\d+)", lambda found: f"{found[1]}127.0.0.1:{own[found[2]]}", str(value)
            )
            for name, value in SERVICES["kafka"]["environment"].items()
        }
        return lines | {"log.dirs": store}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[ComposedNats]:
    server = ComposedNats(tmp_path / "nats")
    yield server
    server.stop()


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ComposedKafka]:
    server = ComposedKafka(tmp_path / "kafka")
    yield server
    server.stop()


def flows(make: Callable[..., BridgeProcess], tmp_path: Path, name: str, server: LeashedServer, port: int) -> None:
    """The bridge of the file waits for the broker of the file, is healthy then, and an event goes through."""
    env = environment(name, tmp_path / "token")
    url = urlsplit(env["BRIDGE_BROKER"])
    assert url.hostname == broker_of(name)
    running = make(BRIDGE_BROKER=f"{url.scheme}://127.0.0.1:{port}")
    del running.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    running.env = env | running.env
    running.start(ready=False)
    assert not health(name, running)
    server.start()
    wait_until(lambda: health(name, running))
    assert running.cli("send").returncode == 0


def health(name: str, running: BridgeProcess) -> bool:
    """What the health check of the file says, at this bridge."""
    _cmd, python, *rest = BRIDGES[name]["healthcheck"]["test"]
    assert python == "python3"
    command = [sys.executable, *(argument.replace(":8081/", f":{running.ops_port}/") for argument in rest)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.system
def test_an_event_reaches_the_nats_of_the_file(
    bridge: Callable[..., BridgeProcess], nats: ComposedNats, tmp_path: Path
) -> None:
    flows(bridge, tmp_path, "bridge-nats", nats, nats.port)
    assert [message.subject for message in asyncio.run(stored(nats.url, "EVENTS"))] == [TOPIC]
    (ports_file,) = nats.folder.glob("*.ports")
    monitoring = yaml.safe_load(ports_file.read_text())["monitoring"][0]
    check = urlsplit(SERVICES["nats"]["healthcheck"]["test"][-1])
    assert f'http: "{check.netloc}"' in COMPOSE["configs"]["nats"]["content"]
    assert httpx.get(monitoring + check.path).json() == {"status": "ok"}


@pytest.mark.system
def test_an_event_reaches_the_kafka_of_the_file(
    bridge: Callable[..., BridgeProcess], kafka: ComposedKafka, tmp_path: Path
) -> None:
    flows(bridge, tmp_path, "bridge-kafka", kafka, kafka._operator_port)
    (record,) = asyncio.run(stored_in_kafka(kafka.bootstrap, TOPIC))
    assert (record.topic, record.key) == (TOPIC, b"480213")
    asyncio.run(knows_every_setting(kafka))


def test_kafka_sends_each_client_to_where_it_came_in() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    inside = urlsplit(BRIDGES["bridge-kafka"]["environment"]["BRIDGE_BROKER"]).netloc
    assert advertised == [f"INSIDE://{inside}", f"HOST://127.0.0.1:{PORTS['kafka']}"]


async def knows_every_setting(server: ComposedKafka) -> None:
    """Kafka says nothing about names that it does not know."""
    async with KafkaOperator(server.operator) as operator:
        config = await operator.broker_config(server.node)
    wanted = {name: str(value) for name, value in server._properties(server.folder / "store").items()}
    assert {name: config.get(name) for name in wanted} == wanted


def test_the_kafka_of_the_file_is_told_to_flush_before_it_acknowledges() -> None:
    environment: dict[str, Any] = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_LOG_FLUSH_INTERVAL_MESSAGES"] == 1
    assert "sync_interval: always" in COMPOSE["configs"]["nats"]["content"]
