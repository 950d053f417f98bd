"""What the NATS publisher and reader need to know. Where the values come from is not their business."""

from pathlib import Path
from typing import Literal

import msgspec

from bridge.publishers.base import ReadSecret

__all__ = ["NatsSettings"]


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster, one stream, one login.

    Attributes:
        servers: `nats://host:port` or `tls://host:port`, of one cluster. `tls://` never goes without TLS.
            A login in the URL is taken for all servers where none is given apart.
        stream: the JetStream stream that has the subjects.
        subjects: what is published to, wildcards allowed; the stream gets or must have them.
        provision: `create` makes the stream and adds missing subjects; `check` only looks; `off` does not even look.
        dry_run: for `check`: what `create` would make is told and not made, and permissions are looked at.
        replicas: of a stream that is created.
        retention_s: max_age of a stream that is created.
        dedup_window_s: how long an id must be remembered; duplicate window of a stream that is created.
        require_durable: weak durability makes not ready.
        max_record_bytes: largest record to expect, headers included; 0: not known.
        name: how the server's monitoring shows us.
        user, password, token: a login with one of them or the first two.
        nkey: the user's seed, the text that begins with `SU`.
        creds: the content of a `.creds` file.
        tls_ca_file, tls_cert_file, tls_key_file: PEM; the server's authorities, our certificate and its key.
        tls_first: TLS before the server's first word (`handshake_first`).
        tls_hostname: the name in the server's certificate where the URL has another one.
        inbox_prefix: where acknowledgements are sent to; for accounts that restrict `_INBOX`.
        expected_server_name: only this very server will do (our embedded one); None: any.
        always_synced: the server is known to fsync before it acknowledges; a client cannot ask for that.
    """

    servers: tuple[str, ...]
    subjects: tuple[str, ...]
    stream: str = "EVENTS"
    provision: Literal["create", "check", "off"] = "check"
    dry_run: bool = False
    replicas: int = 1
    retention_s: int = 604_800
    dedup_window_s: int = 4500
    require_durable: bool = False
    max_record_bytes: int = 0
    name: str = "webhook-bridge"
    user: str | None = None
    password: ReadSecret | None = None
    token: ReadSecret | None = None
    nkey: ReadSecret | None = None
    creds: ReadSecret | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_first: bool = False
    tls_hostname: str | None = None
    inbox_prefix: str = "_INBOX"
    expected_server_name: str | None = None
    always_synced: bool = False

    def __repr__(self) -> str:
        """Without servers and logins: both may hold what must not be logged."""
        return f"NatsSettings(stream={self.stream!r}, provision={self.provision!r})"
