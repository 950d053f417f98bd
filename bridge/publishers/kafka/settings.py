"""What the Kafka publisher and reader need to know. Where the values come from is not their business."""

from pathlib import Path
from typing import Literal

import msgspec

from bridge.publishers.base import ReadSecret

__all__ = ["KafkaSettings", "Sasl", "Topic"]

Sasl = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class Topic(msgspec.Struct, frozen=True):
    """A topic that will be published to.

    Attributes:
        name: of the topic.
        sensitive: its records are credentials that expire: a topic that is created for them keeps them for minutes.
    """

    name: str
    sensitive: bool = False


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster, its topics, one login.

    Attributes:
        servers: `host:port` of some brokers of one cluster; the others are learnt from them.
        topics: all that is known to be published to: looked at from the start, so that none of them is a surprise.
        provision: `create` makes missing topics; `check` only looks; `off` does not judge what it sees.
        dry_run: `create` only tells what it would make.
        partitions: of a topic that is created; None: the broker's default.
        replication: likewise.
        retention_s: likewise, retention.ms.
        dedup_window_s: a topic that keeps records for less is warned of.
        require_durable: weak durability makes not ready.
        max_record_bytes: largest record to expect, headers included; 0: not known.
        client_id: how the brokers' logs and quotas know us.
        compression: of batches; all but gzip need the extra `compression`.
        linger_ms: how long a record may wait for others to share its batch.
        sasl: the mechanism of the login; None: none.
        user, password: for PLAIN and SCRAM.
        token: for OAUTHBEARER; read again for each connection, since tokens expire.
        tls: nothing is sent in plain text.
        tls_ca_file, tls_cert_file, tls_key_file: PEM; the brokers' authorities, our certificate and its key.
    """

    servers: tuple[str, ...]
    topics: tuple[Topic, ...] = ()
    provision: Literal["create", "check", "off"] = "check"
    dry_run: bool = False
    partitions: int | None = None
    replication: int | None = None
    retention_s: int = 604_800
    dedup_window_s: int = 4500
    require_durable: bool = False
    max_record_bytes: int = 0
    client_id: str = "webhook-bridge"
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    linger_ms: int = 0
    sasl: Sasl | None = None
    user: str | None = None
    password: ReadSecret | None = None
    token: ReadSecret | None = None
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

    def __repr__(self) -> str:
        """Without servers and logins."""
        return f"KafkaSettings(topics={len(self.topics)}, provision={self.provision!r})"
