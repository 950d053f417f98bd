"""A stand-in of Chatlevel's API, for trying and testing: POST /v1/devices/{id}/messages/text as it is documented.

It checks the key, keeps 100 requests a minute, answers the documented errors, and prints what it would send.
`python api_stand_in.py PROGRAM` runs a program that finds it where the API would be.
"""

import json
import os
import re
import runpy
import sys
import threading
import time
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer  # HTTPServer would ask the DNS for a name first

__all__ = ["StandIn"]

SILENCE = 0
Answer = tuple[int, dict[str, str]]


class StandIn(ThreadingTCPServer):
    """The server.

    Attributes:
        requests: when each came, what it was answered, and whom it would write to.
        faults: statuses and headers to answer the next requests with, whatever they are; SILENCE keeps them waiting.
        speak: ends the silence.
    """

    daemon_threads = True

    def __init__(self, *, key: str = "sk_stand-in", per_minute: int = 100) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key, self.per_minute = key, per_minute
        self.requests: list[tuple[float, int, str]] = []
        self.faults: deque[Answer] = deque()
        self.speak = threading.Event()

    @property
    def url(self) -> str:
        """What the documentation calls the base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def judge(self, path: str, key: str | None, body: object) -> Answer:
        """What the API answers."""
        taken = [at for at, status, _to in self.requests if status != HTTPStatus.TOO_MANY_REQUESTS]
        if key != f"Bearer {self.key}":
            return HTTPStatus.UNAUTHORIZED, {}
        if sum(at > time.time() - 60 for at in taken) >= self.per_minute:
            return HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": "60"}
        if not re.fullmatch(r"/v1/devices/\d+/messages/text", path):
            return HTTPStatus.NOT_FOUND, {}
        match body:
            case {"to": str(to), "message": str()} if re.fullmatch(r"\d+@(s\.whatsapp\.net|lid|g\.us)", to):
                return HTTPStatus.OK, {}
        return HTTPStatus.BAD_REQUEST, {}


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        """The one method."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        judged = self.server.judge(self.path, self.headers["authorization"], body)
        status, headers = self.server.faults.popleft() if self.server.faults else judged
        self.server.requests.append((time.time(), status, body.get("to")))
        if status == SILENCE:
            self.server.speak.wait(30)
            return
        content: dict[str, object] = {"status": {"code": status, "message": HTTPStatus(status).phrase}}
        if status == HTTPStatus.OK:
            print(f"stand-in: to {body['to']}: {body['message']}")
            content = {"status": "success", "messageId": f"3EB0{len(self.server.requests):016X}"}
        self.send_response(status)
        for name, value in {**headers, "content-type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_arguments: object) -> None:
        """It says what it would send, not that there was a request."""


if __name__ == "__main__":
    stand_in = StandIn()
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    os.environ.update(CHATLEVEL_API=stand_in.url, CHATLEVEL_API_KEY=stand_in.key)
    runpy.run_path(sys.argv[1], run_name="__main__")
