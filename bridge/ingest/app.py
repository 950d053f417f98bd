"""The litestar application of the public port: the webhooks and nothing else."""

from typing import Any, cast

from litestar import Litestar, Request, Response, asgi
from litestar.exceptions import HTTPException
from litestar.types import HTTPScope, Receive, Scope, Send

from bridge.ingest.http import Ingest
from bridge.ingest.outcomes import BAD_REQUEST, NOT_FOUND

__all__ = ["make_ingest_app"]


def make_ingest_app(ingest: Ingest) -> Litestar:
    """Mount the entrance; a raw ASGI handler, half the cost of a route handler."""

    @asgi("/webhooks", is_mount=True, copy_scope=False)
    async def webhooks(scope: Scope, receive: Receive, send: Send) -> None:
        await ingest(cast("HTTPScope", scope), receive, send)  # websockets are off

    return Litestar(
        [webhooks], openapi_config=None, logging_config=None, exception_handlers={HTTPException: _http_error}
    )


def _http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    """What litestar itself refuses: paths outside the mount, a Host header that is none."""
    if error.status_code == NOT_FOUND.status:
        content = {"error": NOT_FOUND.code, "detail": "webhooks are at /webhooks/<source>"}
    else:
        content = {"error": BAD_REQUEST.code, "detail": str(error.detail)}
    return Response(content, status_code=error.status_code)
