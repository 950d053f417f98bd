"""nginx as an ingress controller is: its upstreams change by a reload, some time after the cluster knows."""

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx

from tests.processes import wait_until
from tests.servers import free_ports

# No second try at another upstream: each fault of one is an answer that the provider sees.
_CONFIG = """
daemon off; master_process on; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream bridge {{ {servers} keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 204; }}
    location /generation {{ return 200 {generation}; }}
    location /webhooks {{
      proxy_pass http://bridge;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }}
  }}
}}
"""


class Nginx:
    """A proxy in front of bridges."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._file = folder / "nginx.conf"
        self._generation = 0

    def configure(self, ports: Iterable[int]) -> None:
        """What the next start or reload uses."""
        self._generation += 1
        servers = " ".join(f"server 127.0.0.1:{port};" for port in ports)
        text = _CONFIG.format(folder=self._folder, port=self.port, servers=servers, generation=self._generation)
        self._file.write_text(text)

    def reload(self, ports: Iterable[int]) -> None:
        """Use these bridges, and return when all connections are served so."""
        self.configure(ports)
        before = self._workers()
        subprocess.run([*self.command, "-s", "reload"], check=True, capture_output=True)
        wait_until(lambda: self.up() and not before & self._workers())

    def _workers(self) -> set[str]:
        """Process ids; those of an older configuration serve what they had begun, then they end."""
        master = (self._folder / "nginx.pid").read_text().strip()
        return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())

    def up(self) -> bool:
        """Whether the newest configuration is served."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/generation").text == str(self._generation)
        return False

    @property
    def command(self) -> list[str]:
        return ["/usr/sbin/nginx", "-p", str(self._folder), "-c", str(self._file)]


@contextlib.contextmanager
def nginx(folder: Path, ports: Iterable[int]) -> Iterator[Nginx]:
    """Running inside, in front of these bridges."""
    folder.mkdir()
    proxy = Nginx(folder)
    proxy.configure(ports)
    process = subprocess.Popen(proxy.command, stderr=subprocess.DEVNULL)
    try:
        wait_until(proxy.up)
        yield proxy
    finally:
        process.terminate()
        process.wait(10)
