"""The application of the public port: the webhooks and nothing else.

litestar mounts the entrance and refuses what is none of ours, but the usual request does not go through its router:
that and its layers cost as much as decoding an event, and decide nothing about a path that begins as it should.
"""

from typing import Any, cast

from litestar import Litestar, Request, Response, asgi
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from bridge.ingest.http import Ingest
from bridge.ingest.outcomes import BAD_REQUEST, NOT_FOUND

__all__ = ["make_ingest_app"]


def make_ingest_app(ingest: Ingest) -> ASGIApp:
    """Webhooks straight to the entrance, all else by the framework."""

    @asgi("/webhooks", is_mount=True, copy_scope=False)
    async def webhooks(scope: Scope, receive: Receive, send: Send) -> None:
        await ingest(cast("HTTPScope", scope), receive, send)  # websockets are off

    def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
        """What litestar itself refuses: paths outside the mount, a Host header that is none."""
        missing = error.status_code == NOT_FOUND.status
        code = NOT_FOUND.code if missing else BAD_REQUEST.code
        detail = "webhooks are at /webhooks/<source>" if missing else str(error.detail)
        client = request.client.host if request.client else None
        ingest.facts.rejected("", code, error.status_code, detail=detail, client=client)
        headers = {"connection": "close"}
        return Response({"error": code, "detail": detail}, status_code=error.status_code, headers=headers)

    framework = Litestar(
        [webhooks], openapi_config=None, logging_config=None, exception_handlers={HTTPException: http_error}
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"].startswith(b"/webhooks/"):
            await ingest(cast("HTTPScope", scope), receive, send)
        else:
            await framework(scope, receive, send)

    return app
