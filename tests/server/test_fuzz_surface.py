"""Both ports of a running bridge, held against their description by schemathesis: it makes the requests, and judges.

A source of every registered preset, on a real broker.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bridge.providers import BUILT_IN, PROVIDERS
from bridge.providers.keys import new_secret
from bridge.providers.request import Request
from bridge.providers.signing import Signer
from tests.brokers import NatsAddress
from tests.conftest import Space
from tests.processes import BridgeProcess
from tests.server.surface import ops_port, public_port

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
]
TOKEN = "correct-horse-battery-staple"
SOURCES = {f"s-{name}": PROVIDERS[name] for name in BUILT_IN}
SECRETS = {name: new_secret(provider.proofs[0]) for name, provider in SOURCES.items() if provider.signs}
TOKENS = {name: TOKEN for name in SOURCES if name not in SECRETS}
PUBLIC_URL = "https://hooks.example.com"
SIGNERS = {name: Signer(SOURCES[name].proofs, secret, public_url=PUBLIC_URL) for name, secret in SECRETS.items()}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))  # of requests to each path
hostile = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, nats_server: NatsAddress) -> Iterator[BridgeProcess]:
    space = Space()
    names = [name.replace("-", "_").upper() for name in SOURCES]
    variables = {
        "BRIDGE_BROKER": nats_server.url,
        "BRIDGE_NATS_STREAM": f"FUZZ_{space.token}",
        "BRIDGE_TOPIC_TEMPLATE": f"{space.prefix}.{{source}}.{{type}}",
        "BRIDGE_DEAD_LETTER_TOPIC": "",
        "BRIDGE_PROVISION": "create",
        "BRIDGE_SOURCES": ",".join(f"{name}={provider.name}" for name, provider in SOURCES.items()),
    }
    for variable, name in zip(names, SOURCES, strict=True):
        kind = "SECRET" if name in SECRETS else "TOKEN"
        variables[f"BRIDGE_SOURCE_{variable}_DEADLINE_MS"] = "8000"  # a busy machine is no fault of the bridge
        variables[f"BRIDGE_SOURCE_{variable}_{kind}"] = SECRETS.get(name, TOKEN)
        variables[f"BRIDGE_SOURCE_{variable}_PUBLIC_URL"] = PUBLIC_URL
    process = BridgeProcess(tmp_path_factory.mktemp("surface") / "data", **variables)
    del process.env["BRIDGE_SOURCE_CHATLEVEL_TOKEN"]
    try:
        yield process.start()
    finally:
        process.kill()
        asyncio.run(forget(nats_server.url, variables["BRIDGE_NATS_STREAM"]))


async def forget(url: str, stream: str) -> None:
    client = await nats.connect(url, allow_reconnect=False)
    await client.jetstream().delete_stream(stream)
    await client.close()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@cache
def operation(path: str) -> Any:
    """Made when it is asked for, since that takes schemathesis its time."""
    document = public_port(SOURCES, TOKENS) if path.startswith("/webhooks/") else ops_port()
    described = schemathesis.openapi.from_dict(document)
    return described[path]["POST" if path.startswith("/webhooks/") else "GET"]


def cases(path: str) -> st.SearchStrategy[Case]:
    """What the description allows, and what it does not."""
    made: st.SearchStrategy[Case] = operation(path).as_strategy(generation_mode=GenerationMode.POSITIVE)
    if path.startswith("/webhooks/"):
        made |= operation(path).as_strategy(generation_mode=GenerationMode.NEGATIVE)
    return made


@pytest.mark.parametrize("source", SOURCES)
@hostile
@given(data=st.data())
def test_whatever_is_posted_is_answered_as_described(
    source: str, data: st.DataObject, bridge: BridgeProcess, session: requests.Session
) -> None:
    path = f"/webhooks/{source}/{{token}}" if source in TOKENS else f"/webhooks/{source}"
    case = data.draw(cases(path))
    sent = session.prepare_request(requests.Request(**arguments(case, f"http://127.0.0.1:{bridge.port}")))
    if source in SIGNERS:
        assert session.send(sent, timeout=10).status_code == 401
        sign(sent, source)
    answer = session.send(sent, timeout=10)
    case.validate_response(answer, checks=CHECKS)
    assert source in TOKENS or answer.status_code != 401, "nothing behind the proof is looked at"


@pytest.mark.parametrize("path", ops_port()["paths"])
@hostile
@given(data=st.data())
def test_the_ops_port_answers_as_described(
    path: str, data: st.DataObject, bridge: BridgeProcess, session: requests.Session
) -> None:
    case = data.draw(cases(path))
    sent = session.prepare_request(requests.Request(**arguments(case, bridge.ops_url)))
    case.validate_response(session.send(sent, timeout=10), checks=CHECKS)
    sent.method = data.draw(st.sampled_from(["PUT", "POST", "DELETE", "PATCH", "TRACE"]))
    assert session.send(sent, timeout=10).status_code in (404, 405)


def arguments(case: Case, url: str) -> dict[str, Any]:
    known = ("method", "url", "headers", "params", "data", "json", "cookies", "files")
    return {name: value for name, value in case.as_transport_kwargs(base_url=url).items() if name in known}


def sign(sent: requests.PreparedRequest, source: str) -> None:
    """As its sender would, who makes no odd id."""
    signer, body = SIGNERS[source], sent.body or b""
    for proof in SOURCES[source].proofs:
        sent.headers.pop(proof.id_header, None)
    raw = body.encode() if isinstance(body, str) else body
    headers = [
        (name.lower().encode(), text.encode("latin-1") if isinstance(text, str) else text)
        for name, text in sent.headers.items()
    ]
    url = urlsplit(str(sent.url))
    request = signer.completed(Request("POST", url.path.encode(), url.query.encode(), headers, raw))
    sent.url = url._replace(query=request.query.decode()).geturl()
    sent.headers.update(signer.sign(request, now=time.time()))
