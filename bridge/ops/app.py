"""The second port, for the operator and Kubernetes: health and metrics. Nothing of it is reachable from outside."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bridge.publishers.base import BrokerHealth

__all__ = ["Readiness", "make_ops_app"]


class Readiness(msgspec.Struct, frozen=True):
    """The answer of /health/ready.

    Attributes:
        ready: traffic may come.
        phase: starting, running or stopping.
        reasons: why not ready, each with its remedy.
        warnings: what weakens the promises though the bridge is ready.
        broker: what the publisher says of itself.
        sources: by name, how each proves its sender.
    """

    ready: bool
    phase: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    broker: BrokerHealth
    sources: dict[str, dict[str, Any]]


def make_ops_app(readiness: Callable[[], Readiness], registry: CollectorRegistry) -> Litestar:
    """The litestar application of the ops port."""

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

    handlers: list[ControllerRouterHandler] = [live, ready, metrics]
    return Litestar(handlers, openapi_config=None, logging_config=None, exception_handlers={HTTPException: _http_error})


def _http_error(_request: object, error: HTTPException) -> Response[dict[str, str]]:
    detail = "this port has /health/live, /health/ready and /metrics"
    return Response({"error": "not_found", "detail": detail}, status_code=error.status_code)
