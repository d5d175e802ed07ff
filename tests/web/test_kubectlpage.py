"""The page that sets up kubectl."""

import base64
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

from oidcgate.web import texts
from tests.lab.kube.authority import Authority
from tests.support.browser import Browser, Page
from tests.support.stack import Stack

API = "https://api.example.com:6443"
SITE = {"kubectl": {"client_id": "kubectl"}, "kubernetes": {"api": API}}


async def opened(site: dict[str, Any]) -> Page:
    """The page of a site, as alice."""
    async with Stack(site=site) as stack:
        return await (await stack.browser()).open(f"{stack.url}/oauth2/kubectl")


def shown(page: Page) -> list[str]:
    """What is there to be copied."""
    assert page.status == 200
    return [unescape(piece.partition(">")[2].partition("</pre>")[0]) for piece in page.text.split("<pre")[1:]]


async def test_three_steps(tmp_path: Path) -> None:
    """Install, save, try; the kubeconfig is whole."""
    authority = Authority(tmp_path)
    page = await opened({**SITE, "kubernetes": {"api": API, "ca_file": str(authority.ca_file)}})
    install, config, attempt = shown(page)
    assert install == "pipx install oidcgate"
    found = yaml.safe_load(config)
    cluster = found["clusters"][0]["cluster"]
    assert cluster["server"] == API
    assert base64.b64decode(cluster["certificate-authority-data"]).decode() == authority.pem
    assert found["users"][0]["user"]["exec"]["args"][:2] == ["credential", "get"]
    assert attempt.startswith("kubectl --kubeconfig ~/.kube/oidcgate-localhost-")
    assert attempt.endswith(".yaml auth whoami")
    assert "secret" not in config
    assert "default-src 'none'" in page.reply.value("Content-Security-Policy")


@pytest.mark.parametrize(
    ("site", "keys"),
    [
        ({}, ["sites[0].kubectl.client_id", "sites[0].kubernetes.api"]),
        ({"kubernetes": {"api": API}}, ["sites[0].kubectl.client_id"]),
        ({"kubectl": {"client_id": "kubectl"}}, ["sites[0].kubernetes.api"]),
    ],
)
async def test_what_is_missing(site: dict[str, Any], keys: list[str]) -> None:
    """The keys to set, and nothing to copy."""
    page = await opened(site)
    assert shown(page) == []
    assert texts.KUBECTL_MISSING in unescape(page.text)
    assert [key for key in ("sites[0].kubectl.client_id", "sites[0].kubernetes.api") if key in page.text] == keys


async def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """Is told, without its name."""
    authority = Authority(tmp_path).ca_file
    async with Stack(site={**SITE, "kubernetes": {"api": API, "ca_file": str(authority)}}) as stack:
        browser = await stack.browser()
        authority.unlink()
        page = await browser.open(f"{stack.url}/oauth2/kubectl")
    assert texts.KUBECTL_UNREADABLE in unescape(page.text)
    assert str(tmp_path) not in page.text


async def test_strangers_sign_in_first() -> None:
    """The page names the API server, so it is for those who are signed in; a login leads back to it."""
    async with Stack(site=SITE) as stack:
        browser = Browser()
        page = await browser.send("GET", f"{stack.url}/oauth2/kubectl")
        assert page.status == 302
        assert API not in page.text
        page = await browser.sign_in(f"{stack.url}/oauth2/kubectl")
        assert page.url == f"{stack.url}/oauth2/kubectl"
        assert API in page.text
