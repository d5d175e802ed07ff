"""The logo's own address: a picture that never is a document."""

from pathlib import Path

import pytest

from oidcgate.web.logo import FOR_EVER, MEANWHILE, POLICY
from tests.config.support import PNG, SVG
from tests.support.browser import NAVIGATION, Browser, Page
from tests.support.central import question
from tests.support.raw import fetch
from tests.web.steps import intercept_store, lives, look_again, quick_stack

SCRIPTED = SVG.replace(b"/>", b'><script>document.title = "it ran"</script></svg>')


async def asked(folder: Path, data: bytes | None, *tags: str, query: str = "") -> Page:
    """What a stranger's browser gets."""
    look = {}
    if data is not None:
        (folder / "logo").write_bytes(data)
        look = {"logo_file": str(folder / "logo")}
    async with quick_stack(config={"look": look}) as stack:
        headers = {"If-None-Match": ", ".join(tags)} if tags else {}
        return await Browser().fetch(f"{stack.url}/oauth2/logo{query}", **headers)


@pytest.mark.parametrize(("data", "media_type"), [(PNG, "image/png"), (SCRIPTED, "image/svg+xml")])
async def test_a_picture(tmp_path: Path, data: bytes, media_type: str) -> None:
    """Comes as it is and as what it is, and could run and load nothing."""
    page = await asked(tmp_path, data)
    assert page.status == 200
    assert page.reply.body == data
    assert page.reply.value("Content-Type") == media_type
    assert page.reply.value("Content-Security-Policy") == POLICY
    assert page.reply.value("X-Content-Type-Options") == "nosniff"
    assert page.reply.values("Set-Cookie") == []
    assert page.reply.value("Cache-Control") == MEANWHILE


async def test_it_is_kept_for_ever(tmp_path: Path) -> None:
    """At its content's own address, and by its tag."""
    tag = (await asked(tmp_path, PNG)).reply.value("ETag")
    page = await asked(tmp_path, PNG, '"other"', f"W/{tag}", query=f"?v={tag.strip(chr(34))}")
    assert (page.status, page.reply.body) == (304, b"")
    assert page.reply.value("Cache-Control") == FOR_EVER
    page = await asked(tmp_path, SVG, tag, query=f"?v={tag.strip(chr(34))}")
    assert page.status == 200
    assert page.reply.value("Cache-Control") == MEANWHILE


async def test_nobody_is_asked_whose_session_it_is(tmp_path: Path) -> None:
    """The page of an outage has its logo, too."""
    (tmp_path / "logo").write_bytes(PNG)
    async with quick_stack(config={"look": {"logo_file": str(tmp_path / "logo")}}) as stack:
        browser = await stack.browser()
        store = intercept_store(stack)
        store.is_down = True
        look_again(stack, at_the_store=True)
        lives(stack)[0].seen = 0.0
        assert (await browser.open(f"{stack.url}/oauth2/session")).status == 503
        assert (await browser.fetch(f"{stack.url}/oauth2/logo")).status == 200
        assert store.gets == 0


async def test_without_a_logo(tmp_path: Path) -> None:
    """There is none."""
    assert (await asked(tmp_path, None)).status == 404


async def test_a_page_that_another_proxy_passes_on(tmp_path: Path) -> None:
    """Has the look, and its policy lets the logo in from the site, where the gate's own paths are."""
    (tmp_path / "logo").write_bytes(PNG)
    look = {"name": "Acme", "logo_file": str(tmp_path / "logo")}
    site = {"access": {"rules": [{"path": "/admins/*", "groups": ["nobody"]}]}}
    async with quick_stack(site=site, config={"look": look, "forward_auth": {"peers": ["127.0.0.1"]}}) as stack:
        cookie = ("Cookie", (await stack.browser()).cookie_header(stack.url))
        asked = question("caddy", f"{stack.url}/admins/x", headers=[*NAVIGATION.items(), cookie])
        reply = await fetch(stack.port, asked)
        assert reply.status == 403
        assert '<img class="logo" src="/oauth2/logo?v=' in reply.text
        assert "<span>Acme</span></header>" in reply.text
        assert "img-src 'self'" in reply.value("Content-Security-Policy")
