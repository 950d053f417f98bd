"""The broker's own files: a changed one is used at once; a bad one is named, and the next link is made with the old."""

import hashlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from tests.brokers import NatsServer
from tests.e2e.test_flow import logged, sample
from tests.e2e.test_rotation import Mounted
from tests.kafka import KafkaServer
from tests.kafka_security import Security
from tests.nats_keys import NatsOperator, new_key
from tests.processes import BridgeProcess, wait_until
from tests.servers import free_ports

Make = Callable[..., BridgeProcess]
AUTHORITY = trustme.CA()
NONSENSE = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"


class Client:
    """A certificate of ours as the files of a Secret; for another authority these are of no use."""

    def __init__(self, authority: trustme.CA = AUTHORITY) -> None:
        issued = authority.issue_cert("bridge@clients.internal", common_name="bridge")
        self.pems = {
            "ca.crt": authority.cert_pem.bytes().decode(),
            "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
            "tls.key": issued.private_key_pem.bytes().decode(),
        }


@pytest.fixture(scope="module")
def server_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Paths of the authority, of the broker's certificate and of its key."""
    folder, issued = tmp_path_factory.mktemp("server"), AUTHORITY.issue_cert("localhost", "127.0.0.1")
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "chain.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    return str(folder / "ca.pem"), str(folder / "chain.pem"), str(folder / "key.pem")


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path / "secret")


def files(prefix: str, mounted: Mounted, **more: str) -> dict[str, str]:
    named = {"TLS_CA_FILE": "ca.crt", "TLS_CERT_FILE": "tls.crt", "TLS_KEY_FILE": "tls.key", **more}
    return {f"{prefix}_{variable}": str(mounted.folder / file) for variable, file in named.items()}


def warnings(running: BridgeProcess) -> str:
    return " ".join((running.readiness() or {})["warnings"])


def refused(running: BridgeProcess) -> set[str]:
    """Variables whose changed files were counted as refused."""
    metrics = httpx.get(f"http://127.0.0.1:{running.ops_port}/metrics").text.splitlines()
    counted = [line for line in metrics if line.startswith('bridge_files_reread_total{outcome="refused"')]
    return {line.split('variable="')[1].partition('"')[0] for line in counted}


def put_bad(running: BridgeProcess, mounted: Mounted, *variables: str, **bad: str) -> None:
    """Mount something bad and see it named in log, readiness and metrics, while the bridge stays ready."""
    mounted.put(**bad)
    wait_until(lambda: all(variable in warnings(running) for variable in variables))
    assert running.ready()
    assert refused(running) == set(variables)
    wait_until(lambda: {line["variable"] for line in logged(running, "file_refused")} == set(variables))


def test_bad_files_of_nats_leave_the_old_ones_in_use_and_good_ones_are_used_at_once(
    bridge: Make, mounted: Mounted, nats_process: NatsServer, server_files: tuple[str, str, str]
) -> None:
    authority, chain, key = server_files
    operator, monitor = NatsOperator(), free_ports(1)[0]
    tls = f'tls {{ cert_file: "{chain}", key_file: "{key}", ca_file: "{authority}", verify: true }}'
    nats_process.restart(f"{tls}\n{operator.config}\nhttp: 127.0.0.1:{monitor}")
    first, second, user, other_user = Client(), Client(), new_key(b"U"), new_key(b"U")

    def connected() -> set[tuple[str, str]]:
        """Login and certificate of each client, as the server sees them."""
        found = httpx.get(f"http://127.0.0.1:{monitor}/connz?auth=1").json()["connections"]
        logged_in = [client for client in found if "authorized_user" in client]
        return {(client["authorized_user"], client["tls_peer_certs"][0]["cert_sha256"]) for client in logged_in}

    mounted.put(**first.pems, creds=operator.creds(user))
    settings = files("BRIDGE_NATS", mounted, CREDS_FILE="creds")
    url = nats_process.url.replace("nats:", "tls:")
    running = bridge(BRIDGE_BROKER=url, BRIDGE_PROVISION="create", **settings).start()
    assert connected() == {(user.public, fingerprint(first))}

    variables = ("BRIDGE_NATS_TLS_CA_FILE", "BRIDGE_NATS_CREDS_FILE")
    put_bad(running, mounted, *variables, **{**second.pems, "ca.crt": NONSENSE}, creds="no creds at all")
    nats_process.restart()  # the next link, with the files as they are now
    wait_until(lambda: connected() == {(user.public, fingerprint(first))})
    wait_until(running.ready)
    assert running.post(sample()).status_code == 200

    mounted.put(**second.pems, creds=operator.creds(other_user))
    wait_until(lambda: connected() == {(other_user.public, fingerprint(second))})
    assert running.post(sample("connection.open")).status_code == 200
    wait_until(lambda: "BRIDGE_NATS" not in warnings(running))
    assert other_user.seed not in running.log.read_text()


def fingerprint(client: Client) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(client.pems["tls.crt"])).hexdigest()


@pytest.fixture
def kafka(tmp_path: Path, server_files: tuple[str, str, str]) -> Iterator[KafkaServer]:
    """Asks for a password and a client certificate."""
    security = Security(
        sasl=True, plain_users={"bridge": "correct-horse"}, certificate=server_files, client_certificates=True
    )
    with KafkaServer(tmp_path / "kafka", security=security) as server:
        yield server


def test_bad_files_of_kafka_leave_the_old_ones_in_use_and_good_ones_are_used_at_once(
    bridge: Make, mounted: Mounted, kafka: KafkaServer
) -> None:
    first, second = Client(), Client()
    mounted.put(**first.pems, password="correct-horse")
    settings = files("BRIDGE_KAFKA", mounted, PASSWORD_FILE="password") | {
        "BRIDGE_KAFKA_TLS": "true",
        "BRIDGE_KAFKA_SASL": "plain",
        "BRIDGE_KAFKA_USER": "bridge",
    }
    url = f"kafka://{kafka.bootstrap}"
    running = bridge(BRIDGE_BROKER=url, BRIDGE_PROVISION="create", **settings).start()

    variables = ("BRIDGE_KAFKA_TLS_CA_FILE", "BRIDGE_KAFKA_PASSWORD_FILE")
    put_bad(running, mounted, *variables, **{**first.pems, "tls.key": second.pems["tls.key"]}, password="\n")
    kafka.kill()
    wait_until(lambda: not running.ready())
    kafka.start()
    wait_until(running.ready)
    assert running.post(sample()).status_code == 200
    assert not logged(running, "broker_link_replaced")

    mounted.put(**second.pems, password="correct-horse\n")
    (replaced,) = wait_until(lambda: logged(running, "broker_link_replaced"))
    assert "certificates have changed" in replaced["reason"]
    wait_until(lambda: "BRIDGE_KAFKA" not in warnings(running))
    assert running.post(sample("connection.open")).status_code == 200
