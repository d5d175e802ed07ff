"""Who answers at a site's address, as replies."""

from typing import Any

import pytest

from oidcgate.doctor.browser import check_gate, check_name, check_plain_http, plain_http, public_failure, who_answers
from oidcgate.doctor.calls import Seen
from oidcgate.doctor.reaching import Settings
from oidcgate.doctor.stages import Reason, Stage, Unreached
from tests.doctor.pieces import SITE, Answering, scene_of, seen

URL = "https://ui.example.com"


@pytest.mark.parametrize(
    ("reply", "status", "key", "words"),
    [
        pytest.param(seen(401, X_Oidcgate="sign-in", Server="nginx"), "ok", "", "answers", id="gate-behind-nginx"),
        pytest.param(seen(401, Server="nginx"), "fail", "sites[0].url", "nginx answers 401", id="another-fence"),
        pytest.param(
            seen(421, "No site of this gate", Server="nginx"), "fail", "sites[0].url", "no such", id="no-site"
        ),
        pytest.param(seen(503, "store", Server="oidcgate"), "fail", "session.store", "503: store", id="own-outage"),
        pytest.param(seen(502, Server="nginx"), "fail", "listen", "does not reach", id="proxy"),
        pytest.param(seen(404), "fail", "sites[0].url", "a server without a name answers 404", id="nameless"),
        pytest.param(
            seen(302, Location="https://dex.example.com/auth?x=1"),
            "fail",
            "sites[0].url",
            "sends browsers to dex.example.com:",
            id="another-gate",
        ),
    ],
)
def test_who_answers(reply: Seen, status: str, key: str, words: str) -> None:
    """Only a gate says 401 with its own mark."""
    visit = scene_of().visits[0]
    said = who_answers(reply, visit, prefix="/oauth2")
    assert (said.status, said.key) == (status, key)
    assert words in said.message


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        pytest.param(None, "warn", id="silent"),
        pytest.param((200, {}), "warn", id="served"),
        pytest.param((301, {"Location": "https://elsewhere.example.com/"}), "warn", id="elsewhere"),
        pytest.param((308, {"Location": f"{URL}/"}), "ok", id="led"),
    ],
)
def test_plain_http(reply: Any, status: str) -> None:
    """It leads to https."""
    assert plain_http(reply, "connection refused", scene_of().visits[0]).status == status


@pytest.mark.parametrize(
    ("stage", "reason", "own", "key", "words"),
    [
        pytest.param("tls", "expired", True, "tls.cert_file", "in this file", id="own"),
        pytest.param("tls", "early", False, "sites[0].url", "clock", id="early"),
        pytest.param("tls", "untrusted", False, "sites[0].url", "at the proxy", id="proxy"),
        pytest.param("tls", "plain", False, "sites[0].url", "TLS", id="plain"),
        pytest.param("tcp", "", False, "sites[0].url", "start the server", id="nobody-at-the-proxy"),
        pytest.param("tcp", "", True, "listen", "oidcgate serve", id="nobody"),
        pytest.param("timeout", "", True, "listen", "firewall", id="swallowed"),
    ],
)
def test_public_failure(stage: Stage, reason: Reason, own: bool, key: str, words: str) -> None:
    """Where the certificate is, there it is put right."""
    settings = Settings("the server", "listen" if own else "sites[0].url")
    said = public_failure(Unreached(stage, "so", reason), scene_of().visits[0], settings, own_tls=own)
    assert said.key == key
    assert words in said.fix


async def test_no_host_to_look_up() -> None:
    """A wildcard has none."""
    wide = {"url": "https://*.k8s.example.com", "upstream": {"url": []}}
    scene = scene_of({"sites": [SITE, wide], "forward_auth": {"peers": ["10.0.0.1"]}})
    assert (await check_name(scene, scene.visits[1]))[0].status == "skip"


async def test_one_cookie_needs_no_route() -> None:
    """With one cookie for all hosts the gate need not be there on each."""
    sites = [{**SITE, "url": "https://a.example.com"}, {"url": "https://b.example.com", "upstream": {"url": []}}]
    shared = {"session": {"cookie": {"domain": "example.com"}}, "forward_auth": {"peers": ["10.0.0.1"]}}
    scene = scene_of({"sites": sites, **shared})
    assert (await check_gate(scene, scene.visits[1]))[0].status == "skip"


async def test_addresses() -> None:
    """They are shown."""
    scene = scene_of()
    scene.caller = Answering(["192.0.2.1", "192.0.2.2"])
    assert (await check_name(scene, scene.visits[0]))[0].message == "ui.example.com is 192.0.2.1, 192.0.2.2"


async def test_a_connection_that_says_nothing() -> None:
    """It is the site's address that leads astray."""
    scene = scene_of()
    scene.caller = Answering(Unreached("reply", "no proper HTTP"))
    assert (await check_gate(scene, scene.visits[0]))[0].key == "sites[0].url"


async def test_without_https() -> None:
    """Port 80 of the same host is asked."""
    scene = scene_of()
    scene.caller = Answering(seen(301, Location=f"{URL}/"), Unreached("tcp", "refused"))
    found = [(await check_plain_http(scene, scene.visits[0]))[0].status for _ in range(2)]
    assert found == ["ok", "warn"]
    assert scene.caller.asked[0][0] == "http://ui.example.com/"
