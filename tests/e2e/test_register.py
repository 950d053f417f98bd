"""`register` sets the webhook at servers that speak the providers' documented APIs, and loses nothing else there."""

import hashlib
import hmac
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from click.testing import Result

from bridge.errors import RegistrationFailed
from bridge.providers import PROVIDERS
from bridge.providers.base import Provider
from bridge.registration import Api, registrar_of
from bridge.secret import Secret
from tests.processes import TOKEN, BridgeProcess, run_here
from tests.provider_apis import ApiServer, ChatlevelApi, GitHubApi, TelegramApi, serving

KEY = "sk_canary-a9c1e5b8d2460"
BOT = "123456:canary-ABCdef1234ghIkl"
SECRET = "canary-secret-0f1e2d3c4b5a"
BASE = "https://hooks.example.com"
ENTRANCE = f"{BASE}/webhooks/chatlevel"
SECRETS = (KEY, BOT, SECRET, TOKEN, "canary")


@pytest.fixture
def chatlevel() -> Iterator[ChatlevelApi]:
    shop = {"id": 480213, "name": "shop", "subscription_status": "active", "webhookEvents": ["call"]}
    old = {"id": 480214, "name": "office", "webhookUrl": "https://old.example.com/hook?key=canary-old"}
    with serving(ChatlevelApi(KEY, shop, old, {"id": 77, "subscription_status": "inactive"})) as server:
        yield server


@pytest.fixture
def telegram() -> Iterator[TelegramApi]:
    with serving(TelegramApi(BOT)) as server:
        yield server


@pytest.fixture
def github() -> Iterator[GitHubApi]:
    with serving(GitHubApi(KEY, "acme/shop", "acme")) as server:
        yield server


def register(server: ApiServer, *arguments: str, **env: str) -> Result:
    """The command, at that server. No secret is ever shown."""
    (source, *more) = arguments
    names = {"chatlevel": ("TOKEN", TOKEN), "telegram": ("SECRET", SECRET), "github": ("SECRET", SECRET)}
    proof, value = names[source]
    prefix = f"BRIDGE_SOURCE_{source.upper()}_"
    given = {
        "BRIDGE_SOURCES": source,
        f"{prefix}{proof}": value,
        f"{prefix}API_TOKEN": BOT if source == "telegram" else KEY,
        f"{prefix}PUBLIC_URL": BASE,
        **env,
    }
    done = run_here("register", source, *more, "--api", server.url, env={k: v for k, v in given.items() if v})
    assert not any(secret in done.output for secret in SECRETS), done.output
    return done


# --- Chatlevel


def test_a_device_gets_url_and_events_and_keeps_all_else(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "480213", "--events", "message.received,call")
    assert done.exit_code == 0, done.output
    device = chatlevel.devices[480213]
    assert device["webhookUrl"] == f"{ENTRANCE}/{TOKEN}"
    assert device["webhookEvents"] == ["call", "message.received"]
    assert (device["name"], device["subscription_status"], device["messagesSent"]) == ("shop", "active", 150)
    assert chatlevel.restarts == 0  # as sending subscription_status back would have done
    assert len(chatlevel.writes) == 1
    assert done.output.splitlines() == [
        "device 480213 (shop)",
        f"  url: none -> {ENTRANCE}/***",
        "  events: call -> call, message.received",
        "registered",
        "To try it, with this environment:",
        f"  webhook-bridge selftest --source chatlevel --url {BASE}",
        "  webhook-bridge tail --source chatlevel",
    ]


def test_what_is_registered_already_is_not_written_again(chatlevel: ChatlevelApi) -> None:
    assert register(chatlevel, "chatlevel", "480213").exit_code == 0
    assert chatlevel.devices[480213]["webhookEvents"] == ["call"]  # without --events they stay
    done = register(chatlevel, "chatlevel", "480213")
    assert done.exit_code == 0
    assert "nothing to change" in done.output
    assert "(unchanged)" in done.output
    assert len(chatlevel.writes) == 1


def test_a_new_token_is_a_change_that_is_seen(chatlevel: ChatlevelApi) -> None:
    register(chatlevel, "chatlevel", "480213")
    done = register(chatlevel, "chatlevel", "480213", BRIDGE_SOURCE_CHATLEVEL_TOKEN="canary-another-5d2460")
    assert done.exit_code == 0
    assert f"{ENTRANCE}/*** -> {ENTRANCE}/*** (another token)" in done.output
    assert chatlevel.devices[480213]["webhookUrl"] == f"{ENTRANCE}/canary-another-5d2460"


@pytest.mark.parametrize("more", [("480213",), ("480214", "--yes"), ("480213", "--remove")])
def test_a_dry_run_shows_the_change_and_writes_nothing(more: tuple[str, ...], chatlevel: ChatlevelApi) -> None:
    if "--remove" in more:
        chatlevel.devices[480213]["webhookUrl"] = f"{ENTRANCE}/{TOKEN}"
    done = register(chatlevel, "chatlevel", *more, "--dry-run")
    assert done.exit_code == 0
    assert " -> " in done.output
    assert "nothing was changed" in done.output
    assert not chatlevel.writes


def test_another_receivers_webhook_is_taken_only_by_consent(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "480214")
    assert done.exit_code == 1
    assert "take the webhook away: device 480214 (office) from https://old.example.com/***; --yes" in done.output
    assert not chatlevel.writes
    assert register(chatlevel, "chatlevel", "480214", "--yes", "--events", "all").exit_code == 0
    assert chatlevel.devices[480214]["webhookUrl"] == f"{ENTRANCE}/{TOKEN}"
    assert set(chatlevel.devices[480214]["webhookEvents"]) == set(ChatlevelApi.EVENTS)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1)])
def test_on_a_terminal_it_asks(answer: bytes, code: int, chatlevel: ChatlevelApi) -> None:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")} | {
        "BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN,
        "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN": KEY,
    }
    command = [sys.executable, "-m", "bridge", "register", "chatlevel", "480214", "--public-url", BASE]
    os.write(ours, answer)
    done = subprocess.run([*command, "--api", chatlevel.url], env=env, stdin=theirs, capture_output=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == code, done.stderr
    assert b"Do it? [y/N]" in done.stdout
    assert len(chatlevel.writes) == (code == 0)


def test_devices_are_those_of_the_source_or_the_only_one_or_must_be_named(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel")
    assert done.exit_code == 2
    assert "there are device 480213 (shop), device 480214 (office), device 77" in done.output
    assert not chatlevel.writes
    assert register(chatlevel, "chatlevel", BRIDGE_SOURCE_CHATLEVEL_DEVICES="480213,77").exit_code == 0
    assert [path for _method, path, _body in chatlevel.writes] == ["/devices/480213", "/devices/77"]
    assert chatlevel.devices[77]["subscription_status"] == "inactive"
    del chatlevel.devices[480213], chatlevel.devices[480214]
    assert "nothing to change" in register(chatlevel, "chatlevel").output


def test_a_device_that_is_not_there_is_answered_with_those_near(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "480213", "480215")
    assert done.exit_code == 1
    assert "no device '480215'; perhaps 480214 (office), 480213 (shop)" in done.output
    assert not chatlevel.writes
    assert "'x'; there are 480213 (shop), 480214 (office), 77" in register(chatlevel, "chatlevel", "x").output


def test_devices_are_listed_without_secrets_and_without_a_public_url(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "--list", BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL="")
    assert done.output.splitlines() == [
        "device 480213 (shop): none",
        "device 480214 (office): https://old.example.com/***; events: all",
        "device 77: none",
    ]


def test_a_webhook_is_removed_where_it_is_ours(chatlevel: ChatlevelApi) -> None:
    register(chatlevel, "chatlevel", "480213")
    done = register(chatlevel, "chatlevel", "480213", "480214", "--remove")
    assert done.exit_code == 0, done.output
    assert chatlevel.devices[480213] | {"qr": ""} == chatlevel.devices[480213] | {"qr": "", "webhookUrl": None}
    assert chatlevel.devices[480213]["webhookEvents"] == ["call"]
    assert chatlevel.devices[480214]["webhookUrl"]
    assert "nothing to change" in register(chatlevel, "chatlevel", "480214", "--remove").output


def test_the_webhook_of_a_source_whose_name_begins_alike_is_anothers(chatlevel: ChatlevelApi) -> None:
    chatlevel.devices[480213]["webhookUrl"] = f"{ENTRANCE}-2/{TOKEN}"
    done = register(chatlevel, "chatlevel", "480213")
    assert done.exit_code == 1
    assert "would take the webhook away" in done.output
    assert "nothing to change" in register(chatlevel, "chatlevel", "480213", "--remove").output
    assert not chatlevel.writes


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("subscription_status", "inactive", "subscription_status is no longer what it was"),
        ("webhookUrl", "https://old.example.com/hook?key=canary-old", "the URL is not what it should be"),
        ("webhookUrl", None, "the URL is not what it should be"),
        ("webhookEvents", ["call", "message.sent"], "what is there now is: call, message.sent"),
    ],
)
def test_an_api_that_makes_something_else_of_a_change_is_told_of(
    field: str, value: object, said: str, chatlevel: ChatlevelApi
) -> None:
    class Wilful(ChatlevelApi):
        def answer(self, method: str, *rest: Any) -> Any:
            answer = super().answer(method, *rest)
            if method == "PUT":
                self.devices[480213][field] = value
            return answer

    with serving(Wilful(KEY, chatlevel.devices[480213])) as server:
        done = register(server, "chatlevel")
    assert done.exit_code == 1
    assert said in done.output
    assert "registered\n" not in done.output.lower().replace("not registered", "")


def test_no_name_at_the_provider_moves_the_cursor_of_a_terminal(chatlevel: ChatlevelApi) -> None:
    for device in chatlevel.devices.values():
        device["name"] = "shop\x1b[2J\x9b\r"
    runs = [(), ("480213",), ("480214",), ("48021",), ("480214", "--yes", "--dry-run"), ("--list",)]
    shown = "".join(register(chatlevel, "chatlevel", *arguments).output for arguments in runs)
    assert shown.count("480214 (shop\ufffd[2J\ufffd\ufffd)") == 6
    assert not set(shown) & set("\x1b\x9b\r")


# --- Telegram


def test_a_bot_gets_url_secret_and_updates(telegram: TelegramApi) -> None:
    done = register(telegram, "telegram", "--events", "message,callback_query")
    assert done.exit_code == 0, done.output
    assert telegram.webhook == {
        "url": f"{BASE}/webhooks/telegram",
        "secret_token": SECRET,
        "allowed_updates": ["callback_query", "message"],
    }
    assert f"url: none -> {BASE}/webhooks/telegram" in done.output
    assert "secret: that of BRIDGE_SOURCE_TELEGRAM_SECRET" in done.output


def test_a_bot_keeps_its_limit_and_its_updates_and_gets_the_secret_again(telegram: TelegramApi) -> None:
    """The secret cannot be read: after a rotation nothing else differs, and without the new one all would be 401."""
    telegram.webhook = {"url": f"{BASE}/webhooks/telegram", "max_connections": 7, "secret_token": "old"}
    telegram.allowed = ["poll"]
    assert register(telegram, "telegram").exit_code == 0
    assert telegram.webhook["secret_token"] == SECRET
    assert telegram.webhook["max_connections"] == 7
    assert telegram.allowed == ["poll"]
    assert register(telegram, "telegram", "--events", "all").exit_code == 0
    assert telegram.allowed == []


def test_a_certificate_of_the_bots_own_is_not_lost(telegram: TelegramApi) -> None:
    telegram.certificate = True
    done = register(telegram, "telegram")
    assert done.exit_code == 1
    assert "certificate of its own" in done.output
    assert not telegram.writes


def test_a_bots_webhook_is_removed(telegram: TelegramApi) -> None:
    register(telegram, "telegram")
    assert register(telegram, "telegram", "--remove").exit_code == 0
    assert telegram.webhook == {"url": ""}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SECRET", "canary-secret+with/odd=chars", "cannot be Telegram's secret_token"),
        ("PUBLIC_URL", f"{BASE}:9443", "has port 9443, which Telegram does not call"),
        ("API_TOKEN", "canary", "is no bot's token"),
    ],
)
def test_what_telegram_would_refuse_is_named_before_any_request(
    variable: str, value: str, said: str, telegram: TelegramApi
) -> None:
    done = register(telegram, "telegram", **{f"BRIDGE_SOURCE_TELEGRAM_{variable}": value})
    assert done.exit_code == 2
    assert f"BRIDGE_SOURCE_TELEGRAM_{variable}: {said}" in done.output
    assert not telegram.requests
    assert register(telegram, "telegram", "480213").exit_code == 2


# --- GitHub


@pytest.mark.parametrize("place", ["acme/shop", "acme"])
def test_a_repository_or_organisation_gets_a_webhook_and_keeps_others(place: str, github: GitHubApi) -> None:
    other = github.add(place, "https://ci.example.com/hook?token=canary")
    done = register(github, "github", place)
    assert done.exit_code == 0, done.output
    kept, made = github.hooks[place].values()
    assert kept == other
    config = {"url": f"{BASE}/webhooks/github", "content_type": "json", "secret": SECRET, "insecure_ssl": "0"}
    assert (made["config"], made["events"], made["active"]) == (config, ["*"], True)
    assert "url: none" in done.output
    assert "events: none -> all" in done.output
    assert (
        "https://ci.example.com/***; events: push; content type: form"
        in register(github, "github", place, "--list").output
    )


def test_a_webhook_that_is_there_is_made_as_it_should_be(github: GitHubApi) -> None:
    """Beyond the first page, inactive, as a form, without a secret."""
    for number in range(101):
        github.add("acme/shop", f"https://{number}.example.com")
    hook = github.add("acme/shop", f"{BASE}/webhooks/github", active=False, config={"insecure_ssl": "1"})
    done = register(github, "github", "acme/shop")
    assert done.exit_code == 0, done.output
    assert len(github.hooks["acme/shop"]) == 102
    now = github.hooks["acme/shop"][hook["id"]]
    assert now["config"] | {"url": ""} == {"url": "", "content_type": "json", "secret": SECRET, "insecure_ssl": "1"}
    assert (now["active"], now["events"]) == (True, ["push"])
    assert "content type: form -> json" in done.output
    assert "active: no -> yes" in done.output
    assert register(github, "github", "acme/shop", "--events", "issues").exit_code == 0
    assert github.hooks["acme/shop"][hook["id"]]["events"] == ["issues"]
    assert register(github, "github", "acme/shop", "--remove").exit_code == 0
    assert len(github.hooks["acme/shop"]) == 101


def test_an_api_that_gives_the_same_page_again_is_not_asked_for_ever(github: GitHubApi) -> None:
    github.has_pages = False
    for number in range(100):
        github.add("acme/shop", f"https://{number}.example.com")
    done = register(github, "github", "acme/shop", "--list")
    assert done.exit_code == 0, done.output
    assert done.output.count("example.com") == 100


@pytest.mark.parametrize("where", [(), ("acme/shop/hooks",), ("..",), ("acme/..",), ("a b",)])
def test_where_must_be_a_repository_or_an_organisation(where: tuple[str, ...], github: GitHubApi) -> None:
    done = register(github, "github", *where)
    assert done.exit_code == 2
    assert "organisation" in done.output
    assert not github.requests


def test_what_github_refuses_is_said_in_its_words(github: GitHubApi) -> None:
    done = register(github, "github", "acme/shop", "--events", "pull")
    assert done.exit_code == 1
    assert "answered 422: Validation Failed; events: pull is not a valid event" in done.output
    done = register(github, "github", "acme/other")
    assert done.exit_code == 1
    assert "answered 404: Not Found; there is no repository acme/other, or this is not a token that may" in done.output


# --- all of them


@pytest.mark.parametrize(("source", "where"), [("chatlevel", ("480213",)), ("telegram", ()), ("github", ("acme",))])
def test_a_refused_credential_is_named_by_its_variable(
    source: str, where: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(source)
    name = f"BRIDGE_SOURCE_{source.upper()}_API_TOKEN"
    done = register(server, source, *where, **{name: "1:canary-wrong"})
    assert done.exit_code == 1
    assert f"answered 401: {'Missing' if source == 'chatlevel' else ''}" in done.output
    assert f"the value of {name} is not (or no longer) one that it knows" in done.output
    done = register(server, source, *where, **{name: ""})
    assert done.exit_code == 2
    assert f"{name}: is not set; expected " in done.output
    assert f", or {name}_FILE" in done.output


def test_a_credential_in_a_file_is_taken(chatlevel: ChatlevelApi, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    name = "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN"
    assert register(chatlevel, "chatlevel", "480213", **{name: "", f"{name}_FILE": str(path)}).exit_code == 0


def test_an_api_that_asks_to_wait_is_waited_for(chatlevel: ChatlevelApi) -> None:
    limit = (429, {"retry-after": "0"}, {"status": {"code": 429, "message": "Rate limit exceeded."}})
    chatlevel.faults.extend([limit, limit])
    done = register(chatlevel, "chatlevel", "480213")
    assert done.exit_code == 0, done.output
    assert "has had enough requests for now; going on in 0 s" in done.output
    assert chatlevel.devices[480213]["webhookUrl"]


@pytest.mark.parametrize(
    ("fault", "pause_s"),
    [
        ((429, {"retry-after": "7"}, {}), 7),
        ((429, {}, {"status": {"code": 429, "message": "Maximum 100 requests per minute per user."}}), 60),
        ((429, {}, {"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 3}}), 3),
        ((403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, {"message": "API rate limit exceeded"}), 1),
        ((429, {"x-ratelimit-reset": "9" * 400, "retry-after": "9" * 400}, {}), 60),
        ((403, {"retry-after": "30"}, {"message": "You have exceeded a secondary rate limit"}), 30),
        ((503, {"retry-after": "5"}, None), 5),
    ],
)
def test_the_wait_is_as_long_as_the_api_says(fault: Any, pause_s: int, chatlevel: ChatlevelApi) -> None:
    slept: list[float] = []
    chatlevel.faults.append(fault)
    headers = {"authorization": f"Bearer {KEY}"}
    with Api(chatlevel.url, headers=headers, variable="X", hidden=(), sleep=slept.append) as api:
        assert api.call("GET", "/devices")["status"]["code"] == 200
        assert slept == [pause_s]
        chatlevel.faults.extend([fault] * 5)
        with pytest.raises(RegistrationFailed, match=f"answered {fault[0]}"):
            api.call("GET", "/devices")
    assert slept == [pause_s] * 5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            (500, {}, {"status": {"code": 500, "message": f"Internal server error {KEY} \x1b[2J"}}),
            "server error ***  [2J",
        ),
        ((429, {"retry-after": "3600"}, {}), "answered 429: Too Many Requests; it takes requests again in 3600 s"),
        ((301, {"location": "https://elsewhere.example.com"}, b"<html>"), "redirects are not followed"),
        ((200, {}, b"<html>"), "answered 200 without JSON"),
        ((200, {}, {"devices": [{"id": "x"}]}), "another form than documented"),
        ((404, {}, [{}]), "answered 404: Not Found"),
        ((500, {"retry-after": "1"}, {}), "answered 500: Internal Server Error"),
        ((599, {}, []), "answered 599"),
    ],
)
def test_an_api_that_fails_is_told_of_and_shows_no_secret(fault: Any, said: str, chatlevel: ChatlevelApi) -> None:
    chatlevel.faults.append(fault)
    done = register(chatlevel, "chatlevel", "480213")
    assert done.exit_code == 1
    assert "Not registered: " in done.output
    assert said in done.output
    assert not chatlevel.writes


def test_of_secrets_that_begin_alike_nothing_is_shown_and_no_message_is_endless(chatlevel: ChatlevelApi) -> None:
    secrets = ("canary-1", "canary-1-of-tomorrow")
    with Api("https://api.example.com", headers={}, variable="X", hidden=secrets) as api:
        assert api._shown("canary-1-of-tomorrow, canary-1") == "***, ***"
        assert api._shown("x" * 9999) == "x" * 500
    headers = {"authorization": f"Bearer {secrets[0]}\n"}  # which the client's own error quotes
    with Api(chatlevel.url, headers=headers, variable="X", hidden=secrets) as api:
        with pytest.raises(RegistrationFailed, match=r"^no answer from .*\*\*\*") as raised:
            api.call("GET", "/devices")
        assert raised.value.__cause__ is None


def test_a_bot_api_that_answers_and_does_not_say_that_it_worked_is_told_of(telegram: TelegramApi) -> None:
    telegram.faults.append((200, {}, {"ok": False, "result": {"url": ""}}))
    done = register(telegram, "telegram")
    assert done.exit_code == 1
    assert "did not say that getWebhookInfo worked" in done.output


def test_an_api_that_says_its_path_back_encoded_shows_no_secret(telegram: TelegramApi) -> None:
    telegram.faults.append((400, {}, {"description": f"bad request: {quote(f'/bot{BOT}/getWebhookInfo', safe='')}"}))
    done = register(telegram, "telegram")
    assert done.exit_code == 1
    assert "bad request: %2Fbot***%2FgetWebhookInfo" in done.output


@pytest.mark.parametrize("source", ["chatlevel", "telegram"])
def test_an_api_that_does_not_answer_is_told_of(source: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(source)
    server.base = "/v1"
    with serving(ApiServer()) as gone:
        pass
    done = register(gone, source)
    assert done.exit_code == 1
    assert f"no answer from 127.0.0.1:{gone.server_address[1]}: " in done.output


def test_no_more_requests_than_the_api_takes_in_a_minute(chatlevel: ChatlevelApi) -> None:
    now, slept = [0.0], []

    def sleep(pause_s: float) -> None:
        slept.append(round(pause_s))
        now[0] += pause_s

    headers = {"authorization": f"Bearer {KEY}"}
    with Api(
        chatlevel.url, headers=headers, variable="X", hidden=(), per_minute=3, clock=lambda: now[0], sleep=sleep
    ) as api:
        for _ in range(7):
            api.call("GET", "/devices")
            now[0] += 1
    assert slept == [57, 57]
    assert len(chatlevel.requests) == 7


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "PUBLIC_URL: is not set; expected the https address"),
        ("http://hooks.example.com", "PUBLIC_URL: is no https URL"),
        ("https://127.0.0.1:8080", "is no address that the provider could reach; expected a public one; a tunnel"),
        ("https://localhost", "is no address that the provider could reach"),
        ("https://10.0.0.7", "is no address that the provider could reach"),
        ("https://bridge.internal", "is no address that the provider could reach"),
        ("https://bridge", "is no address that the provider could reach"),
    ],
)
def test_an_address_that_the_provider_cannot_reach_is_refused(url: str, said: str) -> None:
    env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN, "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN": KEY}
    more = ("--public-url", url) if url else ()
    done = run_here("register", "chatlevel", *more, env=env)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(
    "api",
    [
        "http://api.example.com",
        "api.example.com",
        "https://u:p@api.example.com",
        "https://[x",
        "https://api.example.com/v1?x=1",
    ],
)
def test_the_credential_goes_to_no_address_where_it_could_be_read_on_the_way(api: str) -> None:
    env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN, "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN": KEY}
    done = run_here("register", "chatlevel", "--public-url", BASE, "--api", api, env=env)
    assert done.exit_code == 2
    assert "is not the https address of an API" in done.output


def test_an_api_of_ones_own_may_call_within_the_house(chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "480213", BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL="https://bridge.internal")
    assert done.exit_code == 0, done.output
    assert chatlevel.devices[480213]["webhookUrl"].startswith("https://bridge.internal/webhooks/")


@pytest.mark.parametrize("odd", ["\x7f", "é", " ", "\x1b[2J"])
def test_what_can_be_no_credential_is_shown_to_nobody(odd: str, chatlevel: ChatlevelApi) -> None:
    done = register(chatlevel, "chatlevel", "480213", BRIDGE_SOURCE_CHATLEVEL_API_TOKEN=f"{KEY}{odd}{KEY}")
    assert done.exit_code == 2
    assert "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN: has characters that no such credential has" in done.output
    assert not chatlevel.requests


@pytest.mark.parametrize("which", ["the first", "the second", "made by serve"])
def test_an_api_that_says_the_url_back_shows_no_token(which: str, chatlevel: ChatlevelApi, tmp_path: Path) -> None:
    token = TOKEN if which == "the first" else "canary-another-0f1e2d3c4b5a"
    env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": f"{TOKEN} {token}"}
    if which == "made by serve":
        (tmp_path / "tokens").mkdir()
        (tmp_path / "tokens" / "chatlevel").write_text(token)
        env = {"BRIDGE_SOURCE_CHATLEVEL_TOKEN": "", "BRIDGE_DATA_DIR": str(tmp_path)}
    chatlevel.faults.append((500, {}, {"status": {"code": 500, "message": f"no way to {ENTRANCE}/{token}"}}))
    assert f"no way to {ENTRANCE}/***" in register(chatlevel, "chatlevel", "480213", **env).output


def test_all_that_is_missing_is_told_of_at_once() -> None:
    done = run_here("register", "chatlevel", env={"BRIDGE_SOURCE_CHATLEVEL_TOKEN": TOKEN})
    assert done.exit_code == 2
    assert "BRIDGE_SOURCE_CHATLEVEL_API_TOKEN: is not set" in done.output
    assert "BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL: is not set" in done.output


def test_usage_that_is_wrong_is_refused(chatlevel: ChatlevelApi) -> None:
    assert (
        "'calls' is none; there are call, connection.auth"
        in register(chatlevel, "chatlevel", "--events", "calls").output
    )
    assert register(chatlevel, "chatlevel", "--events", " ").exit_code == 2
    done = run_here(
        "register", "stripe", env={"BRIDGE_SOURCES": "stripe", "BRIDGE_SOURCE_STRIPE_SECRET": f"whsec_{SECRET}"}
    )
    assert done.exit_code == 1
    assert "stripe has no API that webhooks can be registered by; enter the URL" in done.output
    assert run_here("register", "shop", env={}).exit_code == 2
    done = register(chatlevel, "chatlevel", "480213", BRIDGE_SOURCE_CHATLEVEL_TOKEN="", BRIDGE_DATA_DIR="/nowhere")
    assert done.exit_code == 1
    assert "there is no token for source 'chatlevel' yet" in done.output
    assert not chatlevel.requests


class Homemade(type(PROVIDERS["chatlevel"])):  # type: ignore[misc]
    registrar = "tests.e2e.test_register:Absent"


def test_a_provider_of_another_package_names_a_registrar_of_its_own(chatlevel: ChatlevelApi) -> None:
    provider: Provider = Homemade()
    with pytest.raises(RegistrationFailed, match="test_register:Absent\\): AttributeError"):
        registrar_of(provider)
    Homemade.registrar = "bridge.registration.github:GitHub"
    assert registrar_of(provider).several
    assert registrar_of(provider).headers(Secret("x"))["authorization"] == "Bearer x"


def test_what_is_registered_is_what_the_entrance_takes(
    bridge: Callable[..., BridgeProcess], chatlevel: ChatlevelApi, telegram: TelegramApi, github: GitHubApi
) -> None:
    """Each provider posts as it was told to, through what stands for the tunnel."""
    running = bridge(
        BRIDGE_SOURCES="chatlevel,telegram,github",
        BRIDGE_SOURCE_TELEGRAM_SECRET=SECRET,
        BRIDGE_SOURCE_GITHUB_SECRET=SECRET,
    ).start()
    for source, server, where in (
        ("chatlevel", chatlevel, "480213"),
        ("telegram", telegram, ""),
        ("github", github, "acme"),
    ):
        assert register(server, source, *filter(None, [where])).exit_code == 0
    (hook,) = github.hooks["acme"].values()
    body = b'{"zen": "x", "ref": "refs/heads/main"}'
    signature = hmac.new(hook["config"]["secret"].encode(), body, hashlib.sha256).hexdigest()
    sent = [
        (chatlevel.devices[480213]["webhookUrl"], PROVIDERS["chatlevel"].sample("call", now=datetime.now(UTC)), {}),
        (telegram.webhook["url"], b'{"update_id": 1, "poll": {}}', {"x-telegram-bot-api-secret-token": SECRET}),
        (hook["config"]["url"], body, {"x-hub-signature-256": f"sha256={signature}", "x-github-event": "push"}),
    ]
    for url, content, headers in sent:
        local = url.replace(BASE, f"http://127.0.0.1:{running.port}")
        answer = httpx.post(local, content=content, headers={"content-type": "application/json", **headers})
        assert answer.is_success, (url, answer.text)
    assert {message.subject.split(".")[1] for message in running.stored()} == {"chatlevel", "telegram", "github"}
