"""The second port: health and metrics for the operator and Kubernetes, and what consumers can build on.

Nothing of it is reachable from outside.
"""

from collections.abc import Callable, Mapping

import msgspec
from litestar import Litestar, Response, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bridge.publishers.base import BrokerHealth
from bridge.spool.model import SpoolState

__all__ = ["Readiness", "SourceState", "make_ops_app"]


class SourceState(msgspec.Struct, frozen=True):
    """A source now.

    Attributes:
        verify: how it proves its sender.
        seconds_until_first_loss: while its deliveries are refused: until the provider gives up the first one, by its
            retry plan; None: they are not.
        duplicates: records that were durable before, since the start.
        ambiguous: publishes that ended without the broker's answer, since the start.
        dead_letters: how many, by reason, since the start.
    """

    verify: str
    seconds_until_first_loss: float | None
    duplicates: int
    ambiguous: int
    dead_letters: dict[str, int]


class Readiness(msgspec.Struct, frozen=True):
    """The answer of /health/ready.

    Attributes:
        ready: traffic may come.
        phase: starting, running or stopping.
        reasons: why not ready, each with its remedy.
        warnings: what weakens the promises though the bridge is ready.
        broker: what the publisher says of itself.
        spool: what the spool says of itself; None: there is none, or it is being looked at.
        drained_per_s: records that left the spool in the last second; None: as `spool`.
        sources: by name.
    """

    ready: bool
    phase: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    broker: BrokerHealth
    spool: SpoolState | None
    drained_per_s: float | None
    sources: dict[str, SourceState]


def make_ops_app(
    readiness: Callable[[], Readiness], registry: CollectorRegistry, documents: Callable[[], Mapping[str, bytes]]
) -> Litestar:
    """The litestar application of the ops port.

    Args:
        readiness: the state now.
        registry: the metrics.
        documents: JSON by path, `asyncapi.json` and what is below `schemas/`. Asked for in a thread, for making them
            takes as long as hundreds of deliveries.
    """

    @get("/health/live", sync_to_thread=False)
    def live() -> dict[str, bool]:
        """Alive as long as it answers: a broker that is away is no reason to be restarted."""
        return {"live": True}

    @get("/health/ready", sync_to_thread=False)
    def ready() -> Response[Readiness]:
        state = readiness()
        return Response(state, status_code=200 if state.ready else 503)

    @get("/metrics", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    def document(path: str) -> Response[bytes]:
        content = documents().get(path)
        if content is None:
            raise NotFoundException
        return Response(content, media_type="application/json")

    @get("/asyncapi.json", sync_to_thread=True)
    def asyncapi() -> Response[bytes]:
        return document("asyncapi.json")

    @get("/schemas", sync_to_thread=True)
    def index() -> Response[bytes]:
        return document("schemas/")

    @get("/schemas/{domain:str}/{name:str}/{version:str}", sync_to_thread=True)
    def schema(domain: FromPath[str], name: FromPath[str], version: FromPath[str]) -> Response[bytes]:
        return document(f"schemas/{domain}/{name}/{version}")

    handlers: list[ControllerRouterHandler] = [live, ready, metrics, asyncapi, index, schema]
    return Litestar(handlers, openapi_config=None, logging_config=None, exception_handlers={HTTPException: _http_error})


def _http_error(_request: object, error: HTTPException) -> Response[dict[str, str]]:
    detail = "this port has /health/live, /health/ready, /metrics, /asyncapi.json and /schemas/"
    return Response({"error": "not_found", "detail": detail}, status_code=error.status_code)
