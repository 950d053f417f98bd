"""`register`: set the webhook at the provider by its API."""

import os
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import click
import msgspec

from bridge.cli.command import Command
from bridge.cli.masking import one_line
from bridge.cli.player import secret_of
from bridge.cli.registering import Registering
from bridge.cli.settings import source_named
from bridge.cli.urls import is_public, webhook_url
from bridge.config import Address, Config, Secret, SourceConfig, load
from bridge.errors import ConfigError, Problem, RegistrationFailed
from bridge.providers import PROVIDERS
from bridge.registration import Api, Registrar, Wanted, registrar_of

__all__ = ["register"]

_TUNNEL = "a tunnel gives a laptop one: ngrok http 8080, or cloudflared tunnel --url http://127.0.0.1:8080"


@click.command(
    cls=Command,
    examples=[
        ("webhook-bridge register chatlevel --list", "what is registered now, at all devices"),
        ("webhook-bridge register chatlevel 480213 --dry-run", "what would change at this device"),
        ("webhook-bridge register chatlevel 480213", "all its events come to BRIDGE_SOURCE_CHATLEVEL_PUBLIC_URL"),
        ("webhook-bridge register telegram --events message,callback_query", "these updates of the bot alone"),
        ("webhook-bridge register github acme/shop acme", "webhooks of a repository and of an organisation"),
        ("webhook-bridge register github acme/shop --remove", "takes ours away again"),
    ],
)
@click.argument("source")
@click.argument("where", nargs=-1, metavar="[WHERE]...")
@click.option("--public-url", help="Instead of BRIDGE_SOURCE_<NAME>_PUBLIC_URL, such as a tunnel's address.")
@click.option(
    "--events",
    help="The provider's own names of the events to send, separated by commas, or all.  [default: as registered now, "
    "else all]",
)
@click.option("--api", "api_url", help="Another address of the provider's API: https://github.example.com/api/v3.")
@click.option("--list", "list_only", is_flag=True, help="Show what is registered, and end.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--remove", is_flag=True, help="Take away what this bridge's URL is registered as.")
@click.option("--yes", is_flag=True, help="Also where that takes the webhook away from another receiver.")
def register(
    *,
    source: str,
    where: tuple[str, ...],
    public_url: str | None,
    events: str | None,
    api_url: str | None,
    list_only: bool,
    dry_run: bool,
    remove: bool,
    yes: bool,
) -> None:
    """Set the webhook at the provider by its API, and show what that changes: Chatlevel, Telegram, GitHub.

    WHERE is a device's id at Chatlevel (else BRIDGE_SOURCE_<NAME>_DEVICES, or the only one there is), a repository
    owner/name or an organisation at GitHub, nothing at Telegram. The API's credential is read from
    BRIDGE_SOURCE_<NAME>_API_TOKEN or the file that BRIDGE_SOURCE_<NAME>_API_TOKEN_FILE names; URL, token and secret
    are those of `serve`, so run it with the same environment.

    It may be run again at any time. Where another receiver's URL is registered and there can be only one, it asks
    first, and without a terminal wants --yes.

    Exit code 0: it is as it should be. 1: it is not. 2: wrong usage or configuration.
    """
    config = load(os.environ)
    chosen = source_named(config, source, hint="SOURCE")
    if public_url is not None:
        override = {chosen.variable("public_url"): public_url}
        config = load(os.environ | override)
        chosen = config.source(source)
    provider = PROVIDERS[chosen.provider]
    try:
        kind = registrar_of(provider)
        token: Secret | None = getattr(chosen.own, "api_token", None)
        problems = list(_token_problems(chosen, kind, token))
        if not list_only:
            problems += _url_problems(chosen, elsewhere=api_url is not None)
        if problems or token is None:
            raise ConfigError(problems)
        wanted = None if list_only else _wanted(config, chosen, kind, events)
        hidden = [token.reveal(), *(secret.reveal() for secret in _secrets(config, chosen, needed=not list_only))]
        with Api(
            _api(api_url, kind),
            headers=kind.headers(token),
            variable=chosen.variable("api_token"),
            hidden=hidden,
            per_minute=kind.per_minute,
            tell=lambda text: click.echo(text, err=True),
        ) as api:
            places = where or (chosen.devices if kind.at_devices and not list_only else ())
            job = Registering(config, chosen, kind(api, token), places)
            if wanted is None:
                job.show_all()
            else:
                job.run(wanted, remove=remove, dry_run=dry_run, yes=yes)
    except RegistrationFailed as error:
        click.echo(f"Not registered: {one_line(str(error))}", err=True)
        sys.exit(1)


def _token_problems(source: SourceConfig, kind: type[Registrar], token: Secret | None) -> Iterator[Problem]:
    name = source.variable("api_token")
    if token is None:
        yield Problem(name, "is not set", f"{kind.credential}, or {name}_FILE, the path of a file with it")
    elif not (value := token.reveal()).isascii() or not value.isprintable() or " " in value:
        yield Problem(name, "has characters that no such credential has", kind.credential)


def _url_problems(source: SourceConfig, *, elsewhere: bool) -> Iterator[Problem]:
    name = source.variable("public_url")
    if source.public_url is None:
        yield Problem(name, "is not set", f"the https address at which the provider reaches us; {_TUNNEL}")
    elif not elsewhere and not is_public(source.public_url):  # a GitHub of one's own may call within the house
        yield Problem(name, "is no address that the provider could reach", f"a public one; {_TUNNEL}")


def _secrets(config: Config, source: SourceConfig, *, needed: bool) -> list[Secret]:
    """All that no message may show."""
    found = secret_of(config, source) if needed else None
    return [*source.secrets, *([] if found is None else [found])]


def _wanted(config: Config, source: SourceConfig, kind: type[Registrar], events: str | None) -> Wanted:
    secret = secret_of(config, source)
    armed = source
    if source.verify == "token" and secret is not None:
        armed = msgspec.structs.replace(source, token=(secret,))
    return Wanted(
        url=webhook_url(config, armed),
        secret=secret if source.verify == "secret" else None,
        events=None if events is None else _events(events, kind),
    )


def _events(text: str, kind: type[Registrar]) -> tuple[str, ...]:
    """Names, none for all of them."""
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not names:
        raise click.BadParameter("names no event", param_hint="--events")
    if names == ("all",) or (kind.known_events and set(names).issuperset(kind.known_events)):
        return ()
    if kind.known_events and (unknown := sorted(set(names).difference(kind.known_events))):
        known = ", ".join(kind.known_events)
        raise click.BadParameter(f"{unknown[0]!r} is none; there are {known}, or all", param_hint="--events")
    return names


def _api(url: str | None, kind: type[Registrar]) -> str:
    if url is None:
        return kind.api_url
    expected = "is not the https address of an API"  # over plain http the credential could be read on the way
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise click.BadParameter(expected, param_hint="--api") from None
    plain = parts.scheme == "http" and host is not None and Address(host, 0).loopback
    if not host or parts.username is not None or parts.query or not (parts.scheme == "https" or plain):
        raise click.BadParameter(expected, param_hint="--api")
    return url
