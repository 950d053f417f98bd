"""The settings that every source has, once: see `settings`, which says how a field is written."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge.config.secrets import Secret
from bridge.config.values import Rate

__all__ = ["SourceConfig"]


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One entrance. Its variables are BRIDGE_SOURCE_<NAME>_<FIELD>, the name in upper case with `_` for `-`."""

    name: str
    provider: str
    token: Annotated[
        tuple[Secret, ...],
        Meta(
            description="What proves the sender: it is the last part of the webhook's URL, or goes into the query or "
            "the `Authorization` header. Several, separated by commas, spaces or new lines, are valid at once, for "
            "rotation; the first one is in the printed URL. Each at least 16 characters of `A-Z a-z 0-9 . _ ~ -`.",
            extra={
                "default": "made and kept in the data directory on loopback, else required",
                "expected": "tokens separated by commas, such as the output of: openssl rand -hex 32",
                "placeholder": "changeme-openssl-rand-hex-32",
            },
        ),
    ] = ()
    secret: Annotated[
        tuple[Secret, ...],
        Meta(
            description="What the provider signs with, or shows in a header. Several, separated by commas, spaces or "
            "new lines, are valid at once, for rotation; `send` signs with the first one. Each at least 16 characters.",
            extra={
                "default": "made and kept in the data directory on loopback, else required where the provider signs",
                "expected": "the provider's signing secret; several separated by commas",
                "placeholder": "changeme-the-signing-secret",
            },
        ),
    ] = ()
    verify: Annotated[
        Literal["token", "secret", "none"],
        Meta(
            description="What proves the sender: `secret`, as the provider signs; `token`, in the URL. `none` takes "
            "events from anybody who knows the URL, so it must be said aloud, without token or secret beside it; "
            "readiness and the log go on naming it.",
            extra={"default": "`secret` where the provider signs, else `token`"},
        ),
    ] = "token"
    success_status: Annotated[
        int,
        Meta(
            ge=200,
            le=299,
            description="The status of a success. A status the provider does not count as success makes it retry "
            "events that were taken.",
            extra={"default": "what the provider counts, mostly 200"},
        ),
    ] = 200
    deadline_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=60_000,
            description="The latest answer to a request: without the broker's acknowledgement by then it is 503 and "
            "the provider retries. Keep it below the provider's own timeout.",
            extra={"default": "below what the provider waits for, mostly 3000"},
        ),
    ] = 3000
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=8_388_608,
            description="The largest body; above it 413. Twice this and 4 KiB must fit into the broker's largest "
            "message (NATS: `max_payload`, 1 MiB; Kafka: `max.message.bytes`, 1 MiB).",
        ),
    ] = 262_144
    rate_limit: Annotated[
        Rate | None,
        Meta(
            description="The most deliveries taken a second (`100/s`), minute (`6000/m`) or hour (`360000/h`): so many "
            "at once, and as many again in that time, evenly. Those above it get 503 with a true Retry-After, and are "
            "lost where the provider does not try again. Retries count, requests without proof do not.",
            examples=["100/s"],
            extra={"default": "no limit", "expected": "deliveries a second, minute or hour, such as 100/s"},
        ),
    ] = None
    dedup_window_s: Annotated[
        int,
        Meta(
            ge=60,
            le=604_800,
            description="Where this provider retries for longer than most: a retry of an event within this time is not "
            "published again, as long as the bridge remembers it (`BRIDGE_DEDUP_MAX_IDS`, and over a restart with a "
            "data directory in use). The broker's own window stays `BRIDGE_DEDUP_WINDOW_S`.",
            extra={"default": "`BRIDGE_DEDUP_WINDOW_S`"},
        ),
    ] = 4500
    devices: Annotated[
        tuple[str, ...],
        Meta(
            description="Only events of these devices are taken, others get 403. A token that leaks then forges "
            "no other tenant's events.",
            examples=["480213,480214"],
            extra={"default": "all"},
        ),
    ] = ()
    unknown: Annotated[
        Literal["publish", "dead-letter", "drop"],
        Meta(
            description="What becomes of events of a kind that this version does not know: `publish` keeps them whole "
            "on the topic of type `unknown`; `dead-letter` keeps the delivery for `replay` by a version that knows "
            "them; `drop` answers success, counts them and publishes nothing."
        ),
    ] = "publish"
    types: Annotated[
        tuple[str, ...],
        Meta(
            description="Event types, where payloads name their own (GitHub and others), that shall have topics from "
            "the start: on Kafka, where a topic must be there before the first event, all others go to the topic of "
            "`unknown`.",
            examples=["push,pull_request.opened"],
        ),
    ] = ()
    public_url: Annotated[
        str | None,
        Meta(
            description="Where the provider reaches this bridge from outside: `/webhooks/<source>/<token>` is added "
            "to it in the URL that `serve` prints, and providers that sign their URL sign this one. It opens nothing "
            "by itself.",
            examples=["https://hooks.example.com"],
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="For providers that sign their URL, where `PUBLIC_URL` is not set: proxies whose "
            "`X-Forwarded-Proto` and `X-Forwarded-Host` are believed to say which URL was called, by the address that "
            "connects to this bridge. They must set both themselves, whatever the client sent. Where they change the "
            "path, too, `PUBLIC_URL` is the way, and the safer one wherever it is known.",
            examples=["10.0.0.7,10.1.0.0/16"],
            extra={"default": "none: nobody is believed", "expected": "addresses and networks: 10.0.0.7,10.1.0.0/16"},
        ),
    ] = ()
    own: msgspec.Struct | None = None  # the provider's own settings, as its `settings` says

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What proves the sender, whichever it is: the tokens or the secrets."""
        return () if self.verify == "none" else self.secret if self.verify == "secret" else self.token

    def variable(self, field: str) -> str:
        """The full name of this source's variable: `token` -> `BRIDGE_SOURCE_SHOP1_TOKEN`."""
        return f"BRIDGE_SOURCE_{self.name.upper().replace('-', '_')}_{field.upper()}"
