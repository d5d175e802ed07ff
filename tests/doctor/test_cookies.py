"""Which cookies reach which hosts."""

from typing import Any

import pytest

from oidcgate.doctor.cookies import check_cookies
from tests.doctor.pieces import SITE, scene_of

PORT = {**SITE, "url": "https://ui.example.com:8443"}
LOCAL = {**SITE, "url": "http://localhost:8000"}


@pytest.mark.parametrize(
    ("sites", "cookie", "status", "words"),
    [
        pytest.param([SITE], {}, "ok", "__Host-oidcgate, one for each host", id="host"),
        pytest.param([LOCAL], {}, "ok", "oidcgate; on http", id="http"),
        pytest.param([PORT], {}, "warn", "cookies ignore ports", id="port"),
        pytest.param([PORT], {"name": "mine"}, "ok", "__Host-mine", id="port-and-name"),
        pytest.param([SITE], {"domain": "example.com"}, "ok", "__Secure-oidcgate", id="domain"),
        pytest.param(
            [{**SITE, "url": "https://a.x.localhost"}, {**SITE, "url": "http://b.x.localhost"}],
            {"domain": "x.localhost"},
            "fail",
            "http and https",
            id="mixed",
        ),
    ],
)
async def test_cookies(sites: list[Any], cookie: dict[str, str], status: str, words: str) -> None:
    """The name that browsers see, and what is wrong with it."""
    (said,) = await check_cookies(scene_of({"sites": sites, "session": {"cookie": cookie}}))
    assert said.status == status
    assert words in said.message
