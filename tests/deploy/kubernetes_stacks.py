"""
Gates that run with the very configuration of a folder in deploy/kubernetes, addresses and files mapped to this machine.

The issuer is the demo's, the UIs are the doubles of tests/support, the API server is a double with TLS.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from oidcgate.cli.secret import new_key
from tests.deploy.kubernetes_folders import FOLDER
from tests.lab.kube.authority import Authority
from tests.support.apiserver import ApiServer
from tests.support.stack import CLIENT
from tests.support.uis import UI, UIStack
from tests.support.uis_dashboard_2 import Dashboard2

OURS = ("issuer", "client_id", "client_secret_file")  # what differs between any two installations


class SecureDashboard2(Dashboard2):
    """The Dashboard 2.7 on its HTTPS port: there its login is on without a flag."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    async def start(self, issuer: str, audience: str = CLIENT, **options: Any) -> None:
        """Listen, on another port with TLS, and say that one."""
        await super().start(issuer, audience, **options)
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[1][1]}"


def configuration(folder: str) -> dict[str, Any]:
    """A folder's configuration, as it is written."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / folder / "config.yaml").read_text())
    return found


def mapped(said: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """All of a configuration but sites, listeners and what differs between any two installations."""
    keys = place / "keys"
    keys.touch(0o600)
    keys.write_text(new_key())
    session = {key: value for key, value in said["session"].items() if key != "state_dir"}
    return {
        **{key: value for key, value in said.items() if key not in ("listen", "tls", "admin", "sites")},
        "provider": {key: value for key, value in said["provider"].items() if key not in OURS},
        "session": {"store": "sqlite", **session, "keys_file": str(keys)},
    }


def upstream_at(upstream: Mapping[str, Any], addresses: Mapping[str, str]) -> dict[str, Any]:
    """A site's upstream with each address replaced; one that is not known is an error."""
    routes = [{**route, "url": addresses[route["url"]]} for route in upstream.get("routes", [])]
    return {**upstream, "url": addresses[upstream["url"]], "routes": routes}


@asynccontextmanager
async def gated_by(folder: str, parts: Mapping[str, UI], place: Path) -> AsyncIterator[tuple[UIStack, ApiServer]]:
    """
    A gate with a folder's configuration.

    Args:
        parts: the UI's double at each address that the configuration names, such as ``http://127.0.0.1:9000``.
        place: an empty directory.
    """
    said = configuration(folder)
    (site,) = said["sites"]
    authority = Authority(place)
    async with AsyncExitStack() as running:
        stack = UIStack(parts[site["upstream"]["url"]], config=mapped(said, place))
        await running.enter_async_context(stack)
        await stack.stop_gate()
        cluster = ApiServer(stack.issuer)
        running.push_async_callback(cluster.stop)
        await cluster.start(authority.server_context("kubernetes"))
        for double in parts.values():
            if double is not stack.double:
                running.push_async_callback(double.stop)
                await double.start(stack.issuer.url, clock=stack.clock)
        addresses = {address: double.url for address, double in parts.items()}
        stack._site = {
            **{key: value for key, value in site.items() if key != "url"},
            "upstream": upstream_at(site["upstream"], addresses),
            "kubernetes": {**site["kubernetes"], "api": cluster.url, "ca_file": str(authority.ca_file)},
        }
        await stack.start_gate()
        yield stack, cluster
