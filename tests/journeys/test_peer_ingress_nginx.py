"""
nginx as ingress-nginx would configure it asks the gate, from the Ingress objects that `oidcgate snippet` prints.

The controller itself needs a cluster; what it writes for these annotations is rendered by tests/lab/ingress_nginx.py.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml

from oidcgate.snippets.ingress_nginx import render
from tests.lab import nginx
from tests.lab.ingress_nginx import MODULE_FOLDER, MODULES, PREFIX, http_block
from tests.lab.peers import AskedStack, Peer, hold_to_document
from tests.lab.scenario import deep_link, login, result, sign_out, walk, websocket

pytestmark = pytest.mark.real

LOADED = tuple(f"{MODULE_FOLDER}/{name}" for name in MODULES)
VERSION = "1.15.1"  # whose defaults are rendered
LIMITS = {
    "API 401": "403: it would redirect 401",
    "cookie kept back": "not by annotations",
}


@asynccontextmanager
async def asking(objects: list[dict[str, Any]], stack: AskedStack) -> AsyncIterator[None]:
    """nginx with what the controller would write for these objects."""
    assert stack.ui is not None
    services = {"ui": f"127.0.0.1:{stack.ui.port}", "oidcgate": f"127.0.0.1:{stack.port}"}
    block = http_block(objects, services, f"127.0.0.1:{stack.peer_port}")
    async with nginx.running(block, port=stack.peer_port, modules=LOADED):
        yield


def objects_of(stack: AskedStack) -> list[dict[str, Any]]:
    """The printed text, parsed."""
    return list(yaml.safe_load_all(render(stack.plan())))


async def test_everything_works_through_ingress_nginx() -> None:
    """The whole walk; the document's row is what came of it."""
    async with AskedStack() as stack, asking(objects_of(stack), stack):
        hold_to_document("ingress-nginx", VERSION, await walk(Peer("ingress-nginx", stack, LIMITS)))


async def test_with_one_cookie_for_all_hosts() -> None:
    """The whole walk where logins end on another host; the controller names the whole address in ``rd``."""
    async with AskedStack(shared=True) as stack, asking(objects_of(stack), stack):
        results = await walk(Peer("ingress-nginx", stack, LIMITS))
        assert {name: text for name, text in results.items() if text != "yes"} == LIMITS


async def test_a_setup_as_one_finds_it() -> None:
    """Three annotations, as for oauth2-proxy, and the controller's defaults for everything else."""
    async with AskedStack() as stack:
        first, own, closed = objects_of(stack)
        first["metadata"]["annotations"] = {
            f"{PREFIX}auth-url": f"http://127.0.0.1:{stack.port}/oauth2/auth/nginx",
            f"{PREFIX}auth-signin": f"{stack.site}/oauth2/start?rd=$escaped_request_uri",
            f"{PREFIX}auth-response-headers": "Authorization",
        }
        async with asking([first, own, closed], stack):
            peer = Peer("ingress-nginx", stack, {"API 401": "known"})
            checks = (login, deep_link, websocket, sign_out)
            assert [await result(peer, check.__name__, check) for check in checks] == ["yes"] * len(checks)
