"""
How programs are started and stopped, the upstream, and nginx as the plain proxy to compare with.

Every program listens on loopback only, on a port the system chose, and dies with the benchmark.
"""

import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOST = "localhost"  # the name browsers and the issuer know the sites by
JSON_PATH = "/api/v1/pods.json"
JSON_SIZE = 5100  # bytes; a page of pods
BULK_PATH = "/bulk"
BULK_SIZE = 50_000_000  # bytes
TOKEN_PATH = "/authorization"  # what the upstream got as Authorization
START_LIMIT = 30  # seconds for a program to listen
STOP_LIMIT = 10  # seconds between SIGTERM and SIGKILL


class CannotRun(Exception):
    """Something the benchmark needs is missing or did not start; says what."""


@dataclass(frozen=True)
class Cores:
    measured: int
    rest: int  # load, upstream and issuer


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    name: str
    port: int
    pid: int
    cookie: str = ""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def program(name: str, package: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/go/bin")
    if path is None:
        raise CannotRun(f"{name} is not installed (Debian: apt-get install {package})")
    return path


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all are held until the last is known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(command: list[str], *, core: int, log: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A program on one core, output in a file; stopped at the end, by the kernel if the benchmark dies."""
    pinned = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command]
    settings = {"stdin": subprocess.DEVNULL, "stdout": log.open("w"), "stderr": subprocess.STDOUT, **options}
    process = subprocess.Popen(pinned, text=True, **settings)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_listening(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise CannotRun(f"{log.stem} did not start; the end of its output:\n{tail}")


def nginx_config(directory: Path, http: str) -> Path:
    """One worker with its files in the directory; connections are kept for ever, as the others do."""
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = directory / "nginx.conf"
    file.write_text(f"""{user}
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
{temporary}
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 1h;
  keepalive_requests 100000000;
{http}
}}
""")
    return file


@contextmanager
def nginx(directory: Path, http: str, *, core: int, port: int) -> Iterator[int]:
    directory.mkdir()
    config, log = nginx_config(directory, http), directory / "nginx.log"
    command = [program("nginx", "nginx"), "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with running(command, core=core, log=log) as process:
        wait_until_listening(process, port, log)
        yield process.pid


def pods() -> str:
    """A list of pods of exactly the wanted size."""
    items: list[dict[str, str]] = []
    while len(json.dumps(body := {"kind": "PodList", "items": items})) < JSON_SIZE - 200:
        number = len(items)
        items.append({"name": f"web-{number}", "namespace": "shop", "phase": "Running", "node": f"node-{number % 3}"})
    body["note"] = ""
    body["note"] = "." * (JSON_SIZE - len(json.dumps(body)))
    return json.dumps(body)


@contextmanager
def upstream(directory: Path, *, core: int, port: int) -> Iterator[int]:
    root = directory / "www"
    (root / JSON_PATH.strip("/")).parent.mkdir(parents=True)
    (root / JSON_PATH.strip("/")).write_text(pods())
    (root / "index.html").write_text("<!doctype html><title>A UI</title>")
    with (root / BULK_PATH.strip("/")).open("wb") as bulk:
        bulk.truncate(BULK_SIZE)
    http = f"""
  access_log off;
  open_file_cache max=10 inactive=1h;
  types {{ application/json json; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {root};
    location = {TOKEN_PATH} {{ return 200 $http_authorization; }}
  }}"""
    with nginx(directory / "upstream", http, core=core, port=port) as pid:
        yield pid


@contextmanager
def plain_proxy(directory: Path, *, core: int, port: int, upstream_port: int) -> Iterator[Target]:
    """nginx as it is usually set up before an upstream; nothing of a body goes to disk."""
    http = f"""
  access_log {directory}/nginx-access.log combined;
  proxy_max_temp_file_size 0;
  upstream ui {{ server 127.0.0.1:{upstream_port}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://ui;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}"""
    with nginx(directory / "proxy", http, core=core, port=port) as pid:
        yield Target("nginx", port, pid)
