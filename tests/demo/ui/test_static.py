"""The page and its assets."""

import gzip
import re
from pathlib import Path

import aiohttp
import pytest

import oidcgate.demo.ui
from oidcgate.demo.ui import DemoUI

HERE = Path(oidcgate.demo.ui.__file__).parent
FILES = sorted(path for path in HERE.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"})
PLAIN = {"Accept-Encoding": "identity"}


async def test_the_document_needs_no_token_and_is_not_cached(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """Anybody gets the page; nobody keeps it."""
    reply = await http.get(f"{ui.url}/", headers=PLAIN)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert await reply.read() == (HERE / "index.html").read_bytes()


async def test_index_html_has_moved(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """As in Go's file server, with a relative Location."""
    reply = await http.get(f"{ui.url}/index.html", allow_redirects=False)
    assert (reply.status, reply.headers["Location"]) == (301, "./")


@pytest.mark.parametrize("name", [path.name for path in FILES if path.name != "index.html"])
async def test_assets_are_gzipped_without_vary(ui: DemoUI, http: aiohttp.ClientSession, name: str) -> None:
    """Whenever Accept-Encoding has the word, even for a Range request; only Last-Modified besides."""
    headers = {"Accept-Encoding": "br;q=1.0, gzip;q=0.5", "Range": "bytes=0-9"}
    reply = await http.get(f"{ui.url}/{name}", headers=headers)
    assert (reply.status, reply.headers["Content-Encoding"]) == (200, "gzip")
    assert "Vary" not in reply.headers
    assert "Cache-Control" not in reply.headers
    assert gzip.decompress(await reply.read()) == (HERE / name).read_bytes()
    plain = await http.get(f"{ui.url}/{name}", headers=PLAIN)
    assert "Content-Encoding" not in plain.headers
    assert await plain.read() == (HERE / name).read_bytes()


async def test_an_asset_that_has_not_changed(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """If-Modified-Since with our own date gets 304."""
    first = await http.get(f"{ui.url}/app.js")
    headers = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert (await http.get(f"{ui.url}/app.js", headers=headers)).status == 304


async def test_python_sources_are_not_served(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """Only the page's own files go out."""
    assert (await http.get(f"{ui.url}/server.py")).status == 404


def test_the_page_lives_under_a_strict_policy() -> None:
    """No inline script or style, nothing from elsewhere, only relative addresses but for signing out."""
    page = (HERE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    absolute = [address for address in addresses if re.match(r"/|\w+:", address)]
    assert absolute == ["/oauth2/sign_out"]
    for path in FILES:
        text = path.read_text()
        assert "innerHTML" not in text
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), path
