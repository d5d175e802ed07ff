"""What a UI's answers are found to be."""

import json
from typing import Any

import pytest

from oidcgate.doctor.calls import Seen
from oidcgate.doctor.scene import Bearer, Scene
from oidcgate.doctor.stages import Unreached
from oidcgate.doctor.ui import can_tell, check_identity, check_reached, judge, judge_identity, route_of
from tests.doctor.pieces import SITE, Answering, claims_of, scene_of, seen

URL = "https://ui.internal"


def behind(**upstream: Any) -> Scene:
    """A site with an upstream."""
    return scene_of({"sites": [{**SITE, "upstream": {"url": URL, **upstream}}]})


@pytest.mark.parametrize(
    ("ui", "reply", "status", "key"),
    [
        pytest.param("dashboard-2", seen(200, '{"httpsMode": true}'), "ok", "", id="dashboard-2"),
        pytest.param("dashboard-7", seen(401, "MSG"), "ok", "", id="dashboard-7"),
        pytest.param("dashboard-7", seen(200, '{"authenticated": false}'), "ok", "", id="dashboard-7-anonymous"),
        pytest.param("headlamp", seen(200, '{"clusters": []}'), "ok", "", id="headlamp"),
        pytest.param("headlamp", seen(200, "<html>"), "warn", "sites[0].upstream.ui", id="not-headlamp"),
        pytest.param("dashboard-2", seen(404, "[]"), "warn", "sites[0].upstream.ui", id="not-a-dashboard"),
        pytest.param("plain", seen(404, "<html>"), "ok", "", id="plain"),
        pytest.param("plain", seen(503), "fail", "sites[0].upstream.url", id="down"),
        pytest.param(
            "plain",
            seen(400, "Client sent an HTTP request to an HTTPS server."),
            "fail",
            "sites[0].upstream.url",
            id="tls",
        ),
    ],
)
def test_first_answer(ui: str, reply: Seen, status: str, key: str) -> None:
    """Each UI has an answer of its own, also for strangers."""
    marks = {"dashboard-2": "httpsMode", "dashboard-7": "authenticated", "headlamp": "clusters", "plain": ""}
    visit = behind(ui=ui).visits[0]
    said = judge(reply, visit, URL, marks[ui], visit.key("upstream.url"))
    assert (said.status, said.key) == (status, key)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        pytest.param(seen(200, '{"authenticated": true}'), "ok", id="good"),
        pytest.param(seen(200, '{"authenticated": false}'), "fail", id="not-taken"),
        pytest.param(seen(401, "MSG"), "fail", id="401"),
        pytest.param(seen(200, json.dumps({"errors": [{"ErrStatus": {"code": 401}}]})), "fail", id="list-with-errors"),
        pytest.param(
            seen(200, json.dumps({"errors": [{"ErrStatus": {"code": 403}}]})), "ok", id="known-without-rights"
        ),
        pytest.param(seen(403), "ok", id="403"),
        pytest.param(seen(500), "fail", id="500"),
    ],
)
def test_identity(reply: Seen, status: str) -> None:
    """A refused token hides in several ways; lacking rights is no refusal."""
    assert judge_identity(reply, behind().visits[0]).status == status


ROUTES = [{"path": "/api/v1/me", "url": "http://127.0.0.1:9"}, {"path": "/api/*", "url": "http://127.0.0.1:9"}]


@pytest.mark.parametrize(
    ("path", "index"), [("/api/v1/me", 0), ("/api/v1/pod", 1), ("/api", None), ("/", None), ("/api/v1/me/", 1)]
)
def test_routes(path: str, index: int | None) -> None:
    """The first that matches."""
    upstream = behind(routes=ROUTES).visits[0].config.upstream
    assert route_of(upstream, path) is (None if index is None else upstream.routes[index])


async def test_every_address_is_tried() -> None:
    """Replicas and further services, each with its own key."""
    scene = behind(url=["http://127.0.0.1:9", "unix:/nowhere"], routes=ROUTES, ui="dashboard-7")
    said = await check_reached(scene, scene.visits[0])
    assert [each.key.removeprefix("sites[0].upstream.") for each in said] == [
        "url[0]",
        "url[1]",
        "routes[0].url",
        "routes[1].url",
    ]


def test_nothing_to_ask() -> None:
    """Some UIs have no page that would tell, and some sites send no token."""
    assert can_tell(behind(ui="dashboard-7").visits[0])
    assert not can_tell(behind(ui="headlamp").visits[0])
    assert not can_tell(scene_of({"sites": [{**SITE, "identity": "none"}]}).visits[0])


@pytest.mark.parametrize(
    ("answer", "audience", "status"),
    [
        pytest.param(seen(200, '{"authenticated": true}'), ("gate",), "ok", id="good"),
        pytest.param(Unreached("reply", "nothing"), ("gate",), "fail", id="silent"),
        pytest.param(None, ("gate", "other"), "skip", id="not-its-token"),
    ],
)
async def test_who_somebody_is(answer: Any, audience: tuple[str, ...], status: str) -> None:
    """The service that serves the path is asked, and told no token that opens more."""
    scene = behind(ui="dashboard-7", routes=ROUTES)
    scene.caller = Answering(answer)
    scene.bearer = Bearer("raw", claims_of(audience=audience), scene.issuers[0], "gate")
    assert (await check_identity(scene, scene.visits[0]))[0].status == status
    assert [url for url, _ in scene.caller.asked] == ["http://127.0.0.1:9/api/v1/me"] * (answer is not None)
