"""The two gates, set up alike before one issuer: configured, built where need be, started."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.servers import HERE, HOST, START_LIMIT, CannotRun, Target, program, running, wait_until_listening

BUILD_LIMIT = 900  # seconds to build oauth2-proxy the first time
OAUTH2_PROXY = "github.com/oauth2-proxy/oauth2-proxy/v7"
SCOPES = "openid email profile groups offline_access"  # the gate's default, for both
SECRET = "a-secret-for-the-benchmark-only"


@contextmanager
def issuer(directory: Path, client_ports: dict[str, int], *, core: int) -> Iterator[str]:
    """The demo issuer with one client for each port."""
    clients = [
        {"id": name, "secret": SECRET, "redirect_uris": [f"http://{HOST}:{port}/oauth2/callback"]}
        for name, port in client_ports.items()
    ]
    command = [sys.executable, "-m", "bench.issuer", json.dumps(clients)]
    log = directory / "issuer.log"
    with (
        log.open("w") as errors,
        running(command, core=core, log=log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise CannotRun(f"the issuer did not start:\n{log.read_text()[-2000:]}")
        yield url


def gate_config(directory: Path, *, port: int, admin_port: int, upstream_port: int, issuer_url: str) -> Path:
    """config.example.yaml's defaults (all keys left out) plus addresses, and the load as a proxy that may ask."""
    secret = directory / "client-secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    file = directory / "gate.yaml"
    file.write_text(f"""listen: ["127.0.0.1:{port}"]
admin: {{listen: "127.0.0.1:{admin_port}"}}
provider:
  issuer: {issuer_url}
  client_id: gate
  client_secret_file: {secret}
session:
  state_dir: {directory}/gate-state
sites:
  - url: http://{HOST}:{port}
    upstream:
      url: http://127.0.0.1:{upstream_port}
forward_auth: {{peers: [127.0.0.1]}}
""")
    return file


def effective_config(config: Path) -> str:
    """What the gate itself says it runs with, secrets starred."""
    command = [sys.executable, "-m", "oidcgate", "check", "--print", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT, check=False)
    return done.stdout if done.returncode == 0 else config.read_text()


@contextmanager
def gate(directory: Path, config: Path, *, core: int, port: int, profile: Path | None) -> Iterator[Target]:
    log = directory / "gate.log"  # its access log too
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiler, "-m", "oidcgate", "serve", "--config", str(config)]
    with running(command, core=core, log=log) as process:
        wait_until_listening(process, port, log)
        yield Target("gate", port, process.pid)


def oauth2_proxy_version() -> str:
    found = re.search(rf"{OAUTH2_PROXY} (v\S+)", (HERE / "go.mod").read_text())
    assert found is not None
    return found[1]


def built_oauth2_proxy() -> Path:
    """
    oauth2-proxy as go.mod names it, built into the user's cache once.

    Raises:
        CannotRun: Go is missing or the build failed.
    """
    lock = hashlib.sha256((HERE / "go.mod").read_bytes() + (HERE / "go.sum").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidcgate" / "bench"
    binary = cache / f"oauth2-proxy-{lock}"
    if binary.exists():
        return binary
    cache.mkdir(parents=True, exist_ok=True)
    print("building oauth2-proxy, once …", file=sys.stderr, flush=True)
    unfinished = cache / f"building-{os.getpid()}"
    version = f"-X {OAUTH2_PROXY}/pkg/version.VERSION={oauth2_proxy_version()}"
    command = [
        program("go", "golang, 1.21 or later"),
        "build",
        "-o",
        str(unfinished),
        "-ldflags",
        version,
        OAUTH2_PROXY,
    ]
    try:
        subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=BUILD_LIMIT, check=True)
    except subprocess.CalledProcessError as error:
        raise CannotRun(f"oauth2-proxy could not be built:\n{error.stderr[-2000:]}") from error
    unfinished.rename(binary)
    return binary


@contextmanager
def oauth2_proxy(
    directory: Path, binary: Path, *, core: int, port: int, upstream_port: int, issuer_url: str
) -> Iterator[Target]:
    """Cookie session, PKCE, the ID token as bearer, request log on (to stdout, which is a file here)."""
    log = directory / "oauth2-proxy.log"
    command = [
        str(binary),
        "--provider=oidc",
        f"--oidc-issuer-url={issuer_url}",
        "--client-id=oauth2-proxy",
        f"--client-secret={SECRET}",
        f"--scope={SCOPES}",
        "--code-challenge-method=S256",
        "--approval-prompt=auto",
        "--skip-provider-button",
        "--email-domain=*",
        "--pass-authorization-header",
        "--set-authorization-header",
        "--set-xauthrequest",
        "--cookie-secure=false",
        f"--cookie-secret={os.urandom(16).hex()}",
        f"--http-address=127.0.0.1:{port}",
        f"--redirect-url=http://{HOST}:{port}/oauth2/callback",
        f"--upstream=http://127.0.0.1:{upstream_port}",
    ]
    with running(command, core=core, log=log) as process:
        wait_until_listening(process, port, log)
        yield Target("oauth2-proxy", port, process.pid)
