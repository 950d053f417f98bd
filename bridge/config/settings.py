"""Every setting, once: name, type, default, limits and words.

The loader, the README's table, `.env.example` and whatever else shows settings walk these fields (`variables`);
a new setting is one field here.

Not here: those of a source (`source_settings`) and of one kind of broker (`broker_settings`), reading them (`load`) and
the rules between them (`validate`).

A description says the effect first, then the traps. Of a field's `extra`: `group` opens a group of the rendered
tables and holds for the fields after it, `default` words a default that depends on other settings, `expected` words a
pattern, `placeholder` stands in for a secret in examples.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.source_settings import SourceConfig
from bridge.config.values import Address, Broker
from bridge.routing import DEFAULT_TEMPLATE

__all__ = ["Config"]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The bridge's settings. The variables are BRIDGE_<FIELD>; what `load` returns fulfils every rule."""

    broker: Annotated[
        Broker,
        Meta(
            description="Where the events go. `embedded:` runs a NATS server of our own, its store in the data "
            "directory; `nats://`, `tls://` (NATS with TLS) and `kafka://` take several hosts of one cluster. "
            "Credentials have variables of their own.",
            examples=["nats://nats-0:4222,nats-1:4222", "kafka://kafka-0:9092,kafka-1:9092"],
            extra={"group": "Broker"},
        ),
    ] = Broker("embedded")
    provision: Annotated[
        Literal["create", "check", "off"],
        Meta(
            description="What to do about the stream or the topics at start: `create` makes them and adds missing "
            "subjects, never takes away; `check` names what is missing and is not ready; `off` does not judge.",
            extra={"default": "`create` for `embedded:`, else `check`"},
        ),
    ] = "create"
    require_durable: Annotated[
        bool,
        Meta(
            description="Weak durability (one replica, old events discarded when full, …) makes the bridge not ready "
            "instead of being warned of."
        ),
    ] = False
    data_dir: Annotated[
        Path,
        Meta(
            description="Holds the embedded broker's store, the spool and the tokens made for sources without one. "
            "Must outlive the process, and belongs to one bridge."
        ),
    ] = Path("data")
    embedded_listen: Annotated[
        Address,
        Meta(
            description="Where the embedded broker listens, for any NATS client to consume from. It asks for no "
            "login: whoever reaches it reads and writes everything."
        ),
    ] = Address("127.0.0.1", 4222)
    listen: Annotated[
        Address,
        Meta(
            description="Where webhooks come in: `/webhooks/<source>`. Beyond loopback the broker must be named and "
            "each source needs a token.",
            examples=["0.0.0.0:8080"],
            extra={"group": "Listeners"},
        ),
    ] = Address("127.0.0.1", 8080)
    ops_listen: Annotated[
        Address,
        Meta(
            description="Health and metrics. Not for the Internet: it asks for no login.",
            examples=["0.0.0.0:8081"],
        ),
    ] = Address("127.0.0.1", 8081)
    tls_cert_file: Annotated[
        Path | None,
        Meta(
            description="HTTPS at the webhook listener itself: the certificate chain, PEM. Not needed behind an "
            "ingress or a tunnel.",
            examples=["/etc/bridge/tls.crt"],
        ),
    ] = None
    tls_key_file: Annotated[
        Path | None,
        Meta(description="The certificate's key, without a pass phrase; PEM.", examples=["/etc/bridge/tls.key"]),
    ] = None
    sources: Annotated[
        tuple[SourceConfig, ...],
        Meta(
            description="The entrances, separated by commas: a provider's name, or `name=provider` for several of "
            "one provider. The name is in the URL and in topics: `a-z 0-9 -`. Renaming changes both.",
            examples=["shop1=chatlevel,shop2=chatlevel"],
            extra={"group": "Sources", "default": "`chatlevel`"},
        ),
    ] = (SourceConfig(name="chatlevel", provider="chatlevel"),)
    topic_template: Annotated[
        str,
        Meta(
            description="The topic of every event that no rule is about; `{source}`, `{type}` and `{domain}` stand for "
            "the event's own. See `docs/routing.md`.",
            extra={"group": "Routing", "expected": "a topic such as events.{source}.{type}"},
        ),
    ] = DEFAULT_TEMPLATE
    routes: Annotated[
        str | None,
        Meta(
            description="Rules, separated by `;` or new lines; the first that matches wins: `source:type -> topic, "
            "topic2 key={contact}` or `source:type -> drop`. `*` stands for any text, but never for credentials "
            "(`connection.auth`). See `docs/routing.md`.",
            examples=["chatlevel:message.* -> whatsapp.messages; *:call -> drop"],
            extra={"expected": "rules such as chatlevel:message.* -> whatsapp.messages"},
        ),
    ] = None
    event_format: Annotated[
        Literal["structured", "binary"],
        Meta(
            description="CloudEvents mode of the records: `structured`, the value is the whole event; `binary`, the "
            "value is its `data` alone and every attribute is a header, at a cost of some microseconds a record."
        ),
    ] = "structured"
    dead_letter_topic: Annotated[
        str | None,
        Meta(
            description="Where a delivery goes that is proven genuine and cannot be decoded, or that the broker "
            "refuses for good: whole, and answered with success, for `webhook-bridge replay`. Set but empty: none, and "
            "such a delivery is answered 400, 413 or 503. Its records may hold whatever the webhooks do, credentials "
            "among it. See `docs/dead-letters.md`.",
            examples=["ops.dead-letter"],
            extra={"expected": "a topic such as bridge.dead-letter", "empty": "none"},
        ),
    ] = "bridge.dead-letter"
    raw_topic: Annotated[
        str | None,
        Meta(
            description="Where every delivery that is taken goes besides, as it came: for `replay --from raw` and for "
            "audits. Success then also waits for this record. It holds all credentials that the webhooks do.",
            examples=["bridge.raw"],
            extra={"expected": "a topic such as bridge.raw"},
        ),
    ] = None
    nats: NatsConfig = NatsConfig()
    kafka: KafkaConfig = KafkaConfig()
    max_in_flight: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="Requests handled at the same time; one more is answered 503 at once instead of queueing "
            "behind a slow broker. Of several sources each has a part to itself, half of the number divided by the "
            "sources; the other half is for whoever comes first. Bounds memory: times the body limit.",
            extra={"group": "Limits"},
        ),
    ] = 1024
    dedup_window_s: Annotated[
        int,
        Meta(
            ge=60,
            le=604_800,
            description="A retry of an event within this time is not published again. Shorter than the provider's "
            "retries and late ones become duplicates (Chatlevel: 3990 s); longer costs memory, in the broker too.",
        ),
    ] = 4500
    dedup_max_ids: Annotated[
        int,
        Meta(
            ge=1000,
            le=100_000_000,
            description="How many records a source may have in that window before the oldest are forgotten, and late "
            "retries of those become duplicates. Each costs about 100 bytes of memory; the default is enough for 110 "
            "records a second.",
        ),
    ] = 500_000
    header_timeout_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=60_000,
            description="A connection whose request header is not complete by then is closed, and one whose "
            "client leaves answers unread for so long.",
        ),
    ] = 5000
    max_header_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=1_048_576,
            description="The largest request line and headers; more are refused and the connection closed.",
        ),
    ] = 16_384
    shutdown_timeout_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=600_000,
            description="How long requests under way may take to finish after SIGTERM. Keep it above the sources' "
            "deadlines, and Kubernetes' `terminationGracePeriodSeconds` above it.",
        ),
    ] = 10_000
    spool: Annotated[
        Literal["off", "on"],
        Meta(
            description="`on`: while the broker does not take events they are kept in the data directory and answered "
            "with success after an fsync, and published in order when it is back. Refused on tmpfs and network file "
            "systems; whether the volume outlives this machine is for you to know. `off`: 503, and the provider "
            "retries.",
            extra={"group": "Spool"},
        ),
    ] = "off"
    spool_max_bytes: Annotated[
        int,
        Meta(
            ge=16_777_216,
            le=1_099_511_627_776,
            description="How large the spool may be. At 80 % readiness warns, at 95 % nothing more is taken (503); "
            "nothing is ever evicted. A start looks at all of it first, which takes up to three seconds for 100 MB.",
        ),
    ] = 1_073_741_824
    spool_min_free_bytes: Annotated[
        int,
        Meta(
            ge=16_777_216,
            le=1_099_511_627_776,
            description="Nothing is spooled while the file system has less room than this: taking events out again "
            "needs some, too.",
        ),
    ] = 67_108_864
    spool_drain_rate: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Records a second that go from the spool to the broker at most, so that one which has just "
            "come back is not overrun.",
        ),
    ] = 2000
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Meta(
            description="`json`, one object a line; `console` for people; `auto`: console on a terminal, else json.",
            extra={"group": "Logs"},
        ),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important lines that are written."),
    ] = "info"

    @property
    def own_topics(self) -> tuple[str, ...]:
        """The topics beside those of events."""
        return tuple(topic for topic in (self.dead_letter_topic, self.raw_topic) if topic is not None)

    def source(self, name: str) -> SourceConfig:
        """The source of that name.

        Raises:
            KeyError: there is none.
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise KeyError(name)
