"""The settings of one kind of broker each; see `settings` for the rest and for how fields are written."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge.config.secrets import Secret

__all__ = ["KafkaConfig", "NatsConfig"]


class NatsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to use NATS. The variables are BRIDGE_NATS_<FIELD>."""

    stream: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_-]{1,64}\Z",
            description="The JetStream stream that holds the events' subjects.",
            extra={"expected": "1 to 64 characters of A-Z a-z 0-9 _ -"},
        ),
    ] = "EVENTS"
    replicas: Annotated[
        int,
        Meta(
            ge=1,
            le=5,
            description="Copies of the stream when it is created: 3 on a cluster survives the loss of a server, 1 "
            "loses events with its disk.",
        ),
    ] = 1
    retention_s: Annotated[
        int,
        Meta(
            ge=60,
            le=315_360_000,
            description="How long events stay when the stream is created. Consumers that are away longer lose events; "
            "not below `BRIDGE_DEDUP_WINDOW_S`.",
        ),
    ] = 604_800
    user: Annotated[
        str | None,
        Meta(
            description="The user, together with the password.",
            examples=["bridge"],
        ),
    ] = None
    password: Annotated[Secret | None, Meta(description="The user's password.", extra={"placeholder": "changeme"})] = (
        None
    )
    token: Annotated[
        Secret | None,
        Meta(description="The server's token, where it uses one for all.", extra={"placeholder": "changeme"}),
    ] = None
    nkey: Annotated[
        Secret | None,
        Meta(description="The user's nkey seed, the text that begins with `SU`.", extra={"placeholder": "SU…"}),
    ] = None
    creds: Annotated[
        Secret | None,
        Meta(
            description="The content of a `.creds` file (user JWT and seed); with `_FILE` the path of one.",
            extra={"placeholder": "-----BEGIN NATS USER JWT-----…"},
        ),
    ] = None
    tls_ca_file: Annotated[
        Path | None,
        Meta(
            description="The certificates that the server's must be signed by; PEM.",
            examples=["/etc/nats/ca.pem"],
            extra={"default": "the system's"},
        ),
    ] = None
    tls_cert_file: Annotated[
        Path | None, Meta(description="Our client certificate for mTLS; PEM.", examples=["/etc/nats/client.pem"])
    ] = None
    tls_key_file: Annotated[
        Path | None,
        Meta(description="Its key, without a pass phrase; PEM.", examples=["/etc/nats/client-key.pem"]),
    ] = None
    tls_first: Annotated[
        bool,
        Meta(description="TLS before the server's first word; only for servers with `handshake_first`, others hang."),
    ] = False
    tls_hostname: Annotated[
        str | None,
        Meta(
            description="The name in the server's certificate, where it is not the host of the URL.",
            examples=["nats.internal"],
            extra={"default": "the URL's host"},
        ),
    ] = None


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to use Kafka. The variables are BRIDGE_KAFKA_<FIELD>."""

    partitions: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Partitions of a topic when it is created. More let more consumers share the work; changing "
            "them later moves keys and breaks their order at that moment. 0: the broker's `num.partitions`.",
        ),
    ] = 0
    replication: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="Copies of a topic when it is created: 3 on three brokers survives the loss of one, and then "
            "`min.insync.replicas=2` is set too; 1 loses events with its disk. 0: the broker's "
            "`default.replication.factor`.",
        ),
    ] = 0
    retention_s: Annotated[
        int,
        Meta(
            ge=60,
            le=315_360_000,
            description="How long events stay when a topic is created. Consumers that are away longer lose events; "
            "not below `BRIDGE_DEDUP_WINDOW_S`. Topics of credentials alone keep them for ten minutes.",
        ),
    ] = 604_800
    compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"],
        Meta(
            description="Of batches. All but `none` and `gzip` need `pip install 'webhook-bridge[compression]'`. A "
            "record's size is judged before compression."
        ),
    ] = "none"
    linger_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="How long a record may wait for others to share its batch. 0 sends at once, and what comes "
            "while a batch is on its way makes the next one; more only saves requests, and delays every answer.",
        ),
    ] = 0
    sasl: Annotated[
        Literal["none", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"],
        Meta(description="The kind of login."),
    ] = "none"
    user: Annotated[str | None, Meta(description="The user, for `plain` and `scram-…`.", examples=["bridge"])] = None
    password: Annotated[Secret | None, Meta(description="The user's password.", extra={"placeholder": "changeme"})] = (
        None
    )
    token: Annotated[
        Secret | None,
        Meta(
            description="The token for `oauthbearer`; with `_FILE` it is read again for each connection, so that a "
            "sidecar can renew it.",
            extra={"placeholder": "eyJ…"},
        ),
    ] = None
    tls: Annotated[bool, Meta(description="TLS to the brokers; their certificates and names are verified.")] = False
    tls_ca_file: Annotated[
        Path | None,
        Meta(
            description="The certificates that the brokers' must be signed by; PEM.",
            examples=["/etc/kafka/ca.pem"],
            extra={"default": "the system's"},
        ),
    ] = None
    tls_cert_file: Annotated[
        Path | None, Meta(description="Our client certificate for mTLS; PEM.", examples=["/etc/kafka/client.pem"])
    ] = None
    tls_key_file: Annotated[
        Path | None,
        Meta(description="Its key, without a pass phrase; PEM.", examples=["/etc/kafka/client-key.pem"]),
    ] = None
