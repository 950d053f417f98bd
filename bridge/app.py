"""The composition root: a Config becomes a running bridge. The only place that wires."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import Literal, NoReturn

from bridge.broker import make_embedded, make_publisher
from bridge.config import (
    Address,
    Config,
    SourceConfig,
    broker_files,
    make_tables,
    proofs_of,
    reread_tokens,
    rereadable_certificate,
    token_file,
)
from bridge.contract import documents
from bridge.errors import ConfigError, Problem, SpoolFailed
from bridge.ingest.admission import RateLimit, Room
from bridge.ingest.app import make_ingest_app
from bridge.ingest.arrival import Entrance
from bridge.ingest.compiled import make_keeper, make_refused_records, make_verifier
from bridge.ingest.dedup import DedupTable
from bridge.ingest.http import Ingest
from bridge.ingest.kept_ids import KeptIds
from bridge.ingest.letters import REASONS
from bridge.ingest.outcomes import OUTCOMES
from bridge.ingest.pipeline import Prepared
from bridge.ingest.protocol import HttpLimits, make_protocol
from bridge.ingest.seen import SeenIds
from bridge.ops.app import Readiness, SourceState, make_ops_app
from bridge.providers import PROVIDERS
from bridge.providers.base import Provider
from bridge.providers.signatures import Verifier
from bridge.publishers.base import Publisher
from bridge.publishers.embedded import EmbeddedServer
from bridge.rotation import Rotating, Rotation
from bridge.routing import topics
from bridge.server import HttpServer
from bridge.spool.model import SpoolState
from bridge.spooling import Spooling
from bridge.telemetry.facts import Facts, SourceFacts
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.process import watch_process

__all__ = ["Bridge", "running"]

# What an fsync may take on a busy disk; this much of a source's deadline is kept for the spool, or a quarter of it.
_SPOOL_S = 0.5


class Bridge:
    """A running service: listeners, publisher and, where asked for, the embedded broker."""

    def __init__(
        self,
        config: Config,
        *,
        providers: Mapping[str, Provider] = PROVIDERS,
        on_published: Callable[[Sequence[Prepared]], None] | None = None,
    ) -> None:
        """Wire nothing yet but the config; `start` does.

        Args:
            config: with a token for every source that needs one.
            providers: by name, those that the config was loaded with.
            on_published: called after each success, for a person who watches.
        """
        self.config = config
        self.metrics = Metrics()
        self.facts = Facts(self.metrics)
        self._providers = providers
        self._tables = make_tables(config, providers)
        self._on_published = on_published
        self._phase: Literal["starting", "running", "stopping"] = "starting"
        self._embedded: EmbeddedServer | None = None
        self.publisher: Publisher | None = None
        self.ingest: Ingest | None = None
        self._servers: list[HttpServer] = []
        self._source_facts: dict[str, SourceFacts] = {}
        self._rotation = Rotation((), self.facts)
        self._rotating: asyncio.Task[NoReturn] | None = None
        # With a data directory in use; without one a restart makes duplicates of retries.
        keeps = config.broker.kind == "embedded" or config.spool == "on"
        self._kept_ids = KeptIds(config.data_dir / "seen", self.facts) if keeps else None
        self.spooling: Spooling | None = None
        self.address = config.listen
        self.ops_address = config.ops_listen

    async def start(self) -> None:
        """Bring everything up; the broker may come later.

        Raises:
            ConfigError: a port is taken, the embedded broker cannot start, or another bridge uses the spool.
            SpoolError: the spool's disk fails.
        """
        config = self.config
        async with contextlib.AsyncExitStack() as undo:
            listener = _bind("BRIDGE_LISTEN", config.listen)
            undo.callback(listener.close)
            ops_listener = _bind("BRIDGE_OPS_LISTEN", config.ops_listen)
            undo.callback(ops_listener.close)
            embedded = make_embedded(config)
            if embedded is not None:
                await embedded.start()
                undo.push_async_callback(embedded.stop)
            self._embedded = embedded
            self.publisher = publisher = make_publisher(config, self._tables, embedded)
            await publisher.start()
            undo.push_async_callback(publisher.close)
            # Before the spool: looking at a large one takes longer than a liveness probe waits.
            ops_server = self._ops_server(publisher, ops_listener)
            await ops_server.start()
            undo.push_async_callback(ops_server.stop)
            if config.spool == "on":
                spooling = Spooling(config, self.metrics)
                refused = make_refused_records(config, publisher, self._source_facts)
                await spooling.start(publisher.publish, refused)
                undo.push_async_callback(spooling.stop)
                self.spooling = spooling
                if self._kept_ids is not None:
                    self._kept_ids.trust(lost=spooling.state().totals.lost)
            self._servers = [await self._serve(publisher, listener), ops_server]
            if self._kept_ids is not None:
                self._kept_ids.start()
            undo.pop_all()
        self.address = _bound(listener)
        self.ops_address = _bound(ops_listener)
        self._phase = "running"

    async def stop(self) -> None:
        """Not ready, finish what is in flight, close the broker's link, end the embedded broker; in that order.

        What is late is not waited for: it is in the spool, or was answered 503.
        """
        self._phase = "stopping"
        if self.ingest is not None:
            self.ingest.end_late()
        if self._rotating is not None:
            self._rotating.cancel()
        servers, self._servers = self._servers, []
        if servers:
            await servers[0].stop()
        if self.spooling is not None:
            await self.spooling.stop()
        if self.publisher is not None:
            await self.publisher.close()
        if self._kept_ids is not None:
            await self._kept_ids.stop()
        if self._embedded is not None:
            await self._embedded.stop()
        for server in servers[1:]:
            await server.stop()

    async def failed(self) -> SpoolFailed:
        """Return when the bridge can no longer keep its promises and should end; most never do."""
        never: asyncio.Future[SpoolFailed] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(never if self.spooling is None else self.spooling.failed)

    async def wait_ready(self) -> None:
        """Return when the broker takes records. Only after `start`; the caller owns the timeout."""
        assert self.publisher is not None  # noqa: S101 -- made by `start`
        await self.publisher.wait_ready()

    def readiness(self) -> Readiness:
        """The state as /health/ready tells it."""
        assert self.publisher is not None  # noqa: S101 -- the ops port is up only after `start` made it
        broker = self.publisher.health()
        spool = None if self.spooling is None else self.spooling.state()
        reasons = broker.reasons
        detours: tuple[str, ...] = ()
        if spool is not None and not broker.ready:
            detours = tuple(f"events go to the spool: {reason}" for reason in broker.reasons) if spool.accepting else ()
            reasons = () if spool.accepting else (*broker.reasons, spool.reason or "the spool takes nothing")
        elif spool is not None and spool.reason is not None:
            detours = (f"events would not go to the spool: {spool.reason}",)
        if self._phase != "running":
            looking = self._phase == "starting" and self.config.spool == "on" and self.spooling is None
            doing = ": the spool is being looked at, up to three seconds for 100 MB" if looking else ""
            reasons = (f"the bridge is {self._phase}{doing}", *reasons)
        open_sources = tuple(
            f"source {source.name!r} takes events from anybody (VERIFY=none)"
            for source in self.config.sources
            if source.verify == "none"
        )
        return Readiness(
            ready=not reasons,
            phase=self._phase,
            reasons=reasons,
            warnings=detours + _spool_warnings(spool) + open_sources + self._refused_files() + broker.warnings,
            broker=broker,
            spool=spool,
            drained_per_s=None if self.spooling is None else self.spooling.drained_per_s,
            sources={source.name: self._source_state(source) for source in self.config.sources},
        )

    def _source_state(self, source: SourceConfig) -> SourceState:
        count, name = self.metrics.value, source.name
        letters = {reason: int(count("bridge_dead_letters_total", name, reason)) for reason in REASONS}
        return SourceState(
            verify=source.verify,
            seconds_until_first_loss=self._until_first_loss_s(source),
            duplicates=int(count("bridge_records_duplicate_total", name)),
            ambiguous=int(count("bridge_records_ambiguous_total", name)),
            dead_letters={reason: found for reason, found in letters.items() if found},
        )

    def _until_first_loss_s(self, source: SourceConfig) -> float | None:
        """While deliveries are refused: how long until the provider gives up the first of them; it may be over."""
        facts = self._source_facts.get(source.name)  # None: not serving yet
        refusing_s = None if facts is None else facts.refusing_s()
        if refusing_s is None:
            return None
        return round(sum(self._providers[source.provider].retry_plan_s) - refusing_s, 1)

    def _refused_files(self) -> tuple[str, ...]:
        refused = self._rotation.refused.items()
        return tuple(f"{variable} {reason}; what it said before is in use" for variable, reason in refused)

    def _ops_server(self, publisher: Publisher, listener: socket.socket) -> HttpServer:
        self._watch(publisher)
        contract = cache(partial(documents, self.config, self._providers))
        return HttpServer(make_ops_app(self.readiness, self.metrics.registry, contract), listener, shutdown_timeout_s=1)

    async def _serve(self, publisher: Publisher, listener: socket.socket) -> HttpServer:
        config = self.config
        entrances = {source.name: self._entrance(source, publisher) for source in config.sources}
        self.ingest = ingest = Ingest(entrances, self.facts, max_in_flight=config.max_in_flight)
        for name, room in ingest.rooms.items():
            self._watch_room(name, room)
        limits = HttpLimits(
            header_timeout_s=config.header_timeout_ms / 1000,
            max_header_bytes=config.max_header_bytes,
            max_body_bytes=max(source.max_body_bytes for source in config.sources),
        )
        timeout_s = config.shutdown_timeout_ms / 1000
        server = HttpServer(
            make_ingest_app(ingest),
            listener,
            shutdown_timeout_s=timeout_s,
            protocol=make_protocol(limits, self.facts),
            tls=(str(config.tls_cert_file), str(config.tls_key_file)) if config.tls_cert_file else None,
        )
        await server.start()
        self._rotation = Rotation(_rotating(config, self._providers, entrances, server), self.facts)
        self._rotating = asyncio.create_task(self._rotation.run())
        return server

    def _entrance(self, source: SourceConfig, publisher: Publisher) -> Entrance:
        provider, table = self._providers[source.provider], self._tables[source.name]
        facts = self.facts.source(
            source.name,
            types=table.known,
            topics=(*topics([table]), *self.config.own_topics),
            outcomes=[outcome.code for outcome in OUTCOMES],
            reasons=REASONS if self.config.dead_letter_topic else (),
        )
        self._source_facts[source.name] = facts
        deadline_s = source.deadline_ms / 1000
        return Entrance(
            name=source.name,
            verifier=make_verifier(source, provider),
            keeper=make_keeper(
                self.config,
                source,
                provider=provider,
                table=table,
                dialect=publisher.dialect,
                dedup=self._dedup(source, publisher, facts),
            ),
            facts=facts,
            success_status=source.success_status,
            deadline_s=deadline_s,
            spool_s=0.0 if self.spooling is None else min(_SPOOL_S, deadline_s / 4),
            max_body_bytes=source.max_body_bytes,
            handshakes=provider.configured(source.own).handshakes(),
            rate=RateLimit(source.rate_limit.count, source.rate_limit.period_s) if source.rate_limit else None,
        )

    def _dedup(self, source: SourceConfig, publisher: Publisher, facts: SourceFacts) -> DedupTable:
        window_s, kept = source.dedup_window_s, self._kept_ids
        seen = SeenIds(
            window_s=window_s, max_ids=self.config.dedup_max_ids, on_forgotten=facts.forgotten, collect=kept is not None
        )
        if kept is not None:
            kept.restore(source.name, seen, window_s=window_s, now=monotonic())
        self.metrics.watch("bridge_dedup_ids", source.name, read=seen.__len__)
        spooling = self.spooling
        table = DedupTable(
            publisher.publish,
            seen,
            facts,
            source=source.name,
            detour=None if spooling is None else spooling.detour,
            on_published=self._on_published,
        )
        if spooling is not None:
            table.remember(spooling.known.pop(source.name, ()))
        return table

    def _watch_room(self, source: str, room: Room) -> None:
        watch = self.metrics.watch
        watch("bridge_deliveries_in_flight", source, read=lambda: room.under_way.taken)
        watch("bridge_deliveries_in_flight_limit", source, read=lambda: room.under_way.most)
        watch("bridge_deliveries_late", source, read=lambda: room.late.taken)

    def _watch(self, publisher: Publisher) -> None:
        """What /metrics reads where it is known."""
        watch = self.metrics.watch
        watch("bridge_ready", read=lambda: self.readiness().ready)
        watch("bridge_broker_ready", read=lambda: publisher.health().ready)
        watch("bridge_broker_connected", read=lambda: bool(publisher.health().details.get("connected")))
        watch("bridge_broker_weaknesses", read=lambda: len(publisher.health().warnings))
        for source in self.config.sources:
            watch("bridge_source_verified", source.name, read=partial(int, source.verify != "none"))
            watch("bridge_source_seconds_until_first_loss", source.name, read=partial(self._first_loss_metric, source))
        watch_process(self.metrics)

    def _first_loss_metric(self, source: SourceConfig) -> float:
        left_s = self._until_first_loss_s(source)
        return math.inf if left_s is None else left_s


def _spool_warnings(spool: SpoolState | None) -> tuple[str, ...]:
    return () if spool is None or spool.warning is None else (spool.warning,)


def _rotating(
    config: Config, providers: Mapping[str, Provider], entrances: Mapping[str, Entrance], server: HttpServer
) -> Iterator[Rotating]:
    """Every file that may change under a running bridge, and what to do then."""

    def tokens(source: SourceConfig, path: Path, verifier: Verifier) -> None:
        proofs = proofs_of(source, providers[source.provider])
        verifier.replace([secret.reveal() for secret in reread_tokens(source, path, proofs)])

    def certificate() -> None:
        rereadable_certificate(config)  # says what is wrong in the words of the start
        server.reread_certificate()

    for source in config.sources:
        path, verifier = token_file(source), entrances[source.name].verifier
        if path is not None and verifier is not None:
            yield Rotating(source.variable(f"{source.verify}_file"), (path,), partial(tokens, source, path, verifier))
    if config.tls_cert_file is not None and config.tls_key_file is not None:
        yield Rotating("BRIDGE_TLS_CERT_FILE", (config.tls_cert_file, config.tls_key_file), certificate)
    for files in broker_files(config):  # its publisher reads them, and goes on with the last good ones
        yield Rotating(files.variable, files.paths, files.check)


def _bind(variable: str, address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        found = f"cannot listen on {address}: {error.strerror or error}"
        raise ConfigError(
            [Problem(variable, found, "a free address of this machine, such as 127.0.0.1:8090")]
        ) from error
    listener.setblocking(False)  # noqa: FBT003 -- the socket API
    return listener


def _bound(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host=host, port=port)


@contextlib.asynccontextmanager
async def running(bridge: Bridge) -> AsyncIterator[None]:
    """Serving inside; ends in good order.

    Raises:
        ConfigError: as `Bridge.start`.
    """
    await bridge.start()
    bridge.facts.lifecycle("serving", listen=str(bridge.address), ops_listen=str(bridge.ops_address))
    try:
        yield
    finally:
        bridge.facts.lifecycle("stopping")
        await bridge.stop()
        bridge.facts.lifecycle("stopped")
