"""Presets as they are served: proof, handshakes, `send` and `explain --request`; and a provider of another package."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
import stripe
from twilio.request_validator import RequestValidator

from tests.generated import ROOT
from tests.processes import BridgeProcess, run_here, wait_until

PRESETS = (
    "cloudevents-http",
    "generic",
    "github",
    "slack",
    "stripe",
    "shopify",
    "telegram",
    "twilio",
    "standard-webhooks",
    "svix",
)
STRIPE = "whsec_canary_5f2e8b1c9d7a4036"
TWILIO = "canary-c1d2e3f4a5b60718"
CANARY = "canary-in-a-body-that-is-not-proven"


def block(language: str) -> str:
    """The page's one block of that language in the part about own providers."""
    page = (ROOT / "docs" / "providers.md").read_text().partition("## A provider of your own")[2]
    (found,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(found)


def install(folder: Path) -> None:
    """The page's provider, as an installer leaves it."""
    name, module = re.findall(r'^(\w+) = "(\w+):', block("toml"), re.MULTILINE)[0]
    (folder / f"{module}.py").write_text(block("python"))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    group = re.findall(r'entry-points\."(.*)"', block("toml"))[0]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + block("toml").partition("\n")[2].replace('"', ""))


@pytest.fixture
def running(bridge: Callable[..., BridgeProcess], tmp_path: Path) -> BridgeProcess:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site")
    (tmp_path / "github").write_text("the-secret-of-today")
    return bridge(
        BRIDGE_SOURCE_GITHUB_SECRET_FILE=str(tmp_path / "github"),
        PYTHONPATH=str(tmp_path / "site"),
        BRIDGE_SOURCES=",".join((*PRESETS, "chatlevel", "calls=twilio", "weather")),
        BRIDGE_SOURCE_STRIPE_SECRET=STRIPE,
        BRIDGE_SOURCE_TWILIO_SECRET=TWILIO,
        BRIDGE_SOURCE_TWILIO_PUBLIC_URL="https://hooks.example.com",
        BRIDGE_SOURCE_CALLS_TRUSTED_PROXIES="127.0.0.1",
    ).start()


def outcomes(running: BridgeProcess, source: str) -> Mapping[str, float]:
    lines = httpx.get(f"{running.ops_url}/metrics").text
    found = re.findall(rf'bridge_deliveries_total{{outcome="(\w+)",source="{source}"}} ([0-9.]+)', lines)
    return {outcome: float(count) for outcome, count in found if float(count)}


def check_twilio(running: BridgeProcess, env: Mapping[str, str], captured: Path) -> None:
    """A sender that signs its URL, which the setting knows, or a proxy tells; and that is answered without a body."""
    for source in ("twilio", "calls"):
        sent = run_here("send", "call.status", "messaging.message.delivered", "--source", source, env=env)
        assert sent.exit_code == 0, sent.output
        assert run_here("selftest", "--source", source, env=env).exit_code == 0
    url, called = f"http://127.0.0.1:{running.port}/webhooks/twilio", "https://hooks.example.com/webhooks/twilio"
    fields = {"CallSid": "CA1", "CallStatus": "ringing", "Direction": "inbound", "To": "+15557122661"}
    signature = RequestValidator(TWILIO).compute_signature(called, fields)
    answer = httpx.post(url, data=fields, headers={"x-twilio-signature": signature})
    assert (answer.status_code, answer.content) == (204, b"")
    assert httpx.post(url, data={**fields, "To": "+1"}, headers={"x-twilio-signature": signature}).status_code == 401
    assert outcomes(running, "twilio") == {"accepted": 5, "unauthorized": 1}

    captured.write_text(
        f"POST /webhooks/twilio?bodySHA256=00 HTTP/1.1\nX-Twilio-Signature: {signature}\n"
        "X-Forwarded-Proto: https\nX-Forwarded-Host: hooks.example.com\n\n{}"
    )
    for source, first in (("twilio", "headers"), ("calls", "peer")):
        explained = run_here("explain", "--request", str(captured), "--source", source, "--json", env=env)
        proof = json.loads(explained.stdout)["proof"]
        assert (explained.exit_code, proof[0]["name"], proof[-1]["name"]) == (1, first, "body")
        (tried,) = (step["found"] for step in proof if step["name"] == "url")
        assert tried == f"tried {called}?…, {called.replace('.com', '.com:443')}?…"


def test_what_senders_sign_is_published_and_all_else_refused(running: BridgeProcess, tmp_path: Path) -> None:
    env = {
        **running.env,
        "BRIDGE_SOURCES": ",".join((*PRESETS, "chatlevel", "calls=twilio")),
    }  # this process has no weather
    for preset in PRESETS:
        sent = run_here("send", "--source", preset, env=env)
        assert sent.exit_code == 0, sent.output
    weather = running.cli("send", "--source", "weather")
    assert weather.returncode == 0, weather.stderr
    assert {message.subject for message in running.stored()} == {
        "events.cloudevents-http.com.example.thing.created",
        "events.generic.thing.created",
        "events.github.push",
        "events.slack.message",
        "events.stripe.customer.created",
        "events.shopify.orders.create",
        "events.telegram.message",
        "events.twilio.message.received",
        "events.standard-webhooks.user.created",
        "events.svix.user.created",
        "events.weather.storm",
    }

    # Stripe's own library signs
    url = f"http://127.0.0.1:{running.port}/webhooks/stripe"
    body = json.dumps({"id": "evt_1", "type": "invoice.paid", "note": CANARY})
    signature = stripe.WebhookSignature.generate_signature_header(body, STRIPE)
    assert httpx.post(url, content=body, headers={"stripe-signature": signature}).status_code == 200
    refused = httpx.post(url, content=body + " ", headers={"stripe-signature": signature})
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert "signature" not in refused.text
    assert httpx.post(url, content=body).status_code == 401
    assert outcomes(running, "stripe") == {"accepted": 2, "unauthorized": 2}

    # a captured request, explained with the running bridge's settings
    captured = tmp_path / "captured.http"
    captured.write_text(f"POST /webhooks/stripe HTTP/1.1\nStripe-Signature: {signature}\n\n{body}")
    explained = run_here("explain", "--request", str(captured), "--source", "stripe", "--json", env=env)
    assert explained.exit_code == 0, explained.output
    report = json.loads(explained.stdout)
    assert [step["right"] for step in report["proof"]] == [True] * 4
    assert report["events"][0]["records"][0]["topic"] == "events.stripe.invoice.paid"
    captured.write_text(captured.read_text() + "\n")
    explained = run_here("explain", "--request", str(captured), "--source", "stripe", env=env)
    assert explained.exit_code == 1
    assert "401 unauthorized" in explained.stdout
    assert "were it proven, it would become" in explained.stdout
    assert "without its last line end would" in " ".join(explained.stdout.split())
    assert run_here("send", str(captured), "--source", "stripe", env=env).exit_code == 0, "signed anew"

    check_twilio(running, env, captured)

    # questions that are no events
    url = f"http://127.0.0.1:{running.port}/webhooks/cloudevents-http"
    consent = httpx.options(url, headers={"webhook-request-origin": "sender.example.com"})
    assert (consent.status_code, consent.headers["webhook-allowed-origin"]) == (200, "sender.example.com")
    assert outcomes(running, "cloudevents-http") == {"accepted": 1, "handshake": 1}
    ping = run_here("send", "ping", "--source", "github", env=env)
    assert (ping.exit_code, outcomes(running, "github")) == (0, {"accepted": 1, "handshake": 1})

    # a secret that changes in its file
    (tmp_path / "github").write_text("the-secret-of-tomorrow")  # which `send` reads at once
    wait_until(lambda: run_here("send", "--source", "github", env=env).exit_code == 0)
    log = running.log.read_text()
    for secret in (STRIPE, TWILIO, CANARY, signature, (running.data_dir / "tokens" / "slack").read_text().strip()):
        assert secret not in log
        assert secret == CANARY or secret not in explained.output  # what the body would become is shown
