"""What the gate knows of each UI (facts of Dashboard 2.7, Dashboard 7 and Headlamp; BR-02, KU-04)."""

import json

import pytest

from oidcgate.proxy.ui import PRESETS

EVERY = sorted(PRESETS)


def test_names() -> None:
    """The presets that the configuration can name."""
    assert EVERY == ["dashboard-2", "dashboard-7", "headlamp", "plain"]
    assert all(PRESETS[name].name == name for name in EVERY)


@pytest.mark.parametrize(
    ("ui", "path"),
    [
        pytest.param("dashboard-2", "/api/v1/pod/default", id="dashboard-2"),
        pytest.param("dashboard-2", "/api/sockjs/info", id="dashboard-2-sockjs"),
        pytest.param("dashboard-7", "/api/v1/me", id="dashboard-7"),
        pytest.param("dashboard-7", "/metrics", id="dashboard-7-metrics"),
        pytest.param("headlamp", "/clusters/main/api/v1/pods", id="headlamp"),
        pytest.param("headlamp", "/wsMultiplexer", id="headlamp-multiplexer"),
        pytest.param("headlamp", "/config", id="headlamp-config"),
        pytest.param("plain", "/api/x", id="plain"),
        pytest.param("plain", "/apis/apps/v1", id="plain-kubernetes"),
        pytest.param("plain", "/%61pi/x", id="escaped-letter"),
        pytest.param("plain", "/%2561pi/x", id="escaped-twice"),
        pytest.param("plain", "/api%2fx", id="escaped-slash"),
        pytest.param("plain", "/x/../api/x", id="dots"),
        pytest.param("plain", "/x/%2e%2e/api/x", id="escaped-dots"),
        pytest.param("plain", "/x/..;/api/x", id="dots-with-a-parameter"),
        pytest.param("plain", "/;x/api/x", id="parameter-in-an-empty-segment"),
        pytest.param("plain", "/api;x=1/x", id="parameter"),
        pytest.param("plain", "/x/..//api/x", id="empty-segment"),
        pytest.param("plain", "/%5capi%5cx", id="escaped-backslash"),
        pytest.param("plain", "/./api/x", id="dot"),
    ],
)
def test_api_paths(ui: str, path: str) -> None:
    """Paths that scripts fetch, however spelled: no login redirect there, and no link from another site."""
    assert PRESETS[ui].is_api(path)


@pytest.mark.parametrize("ui", EVERY)
@pytest.mark.parametrize("path", ["/", "/index.html", "/assets/main.js", "/apix", "/a%20b", "/c/main/role/system%3Ax"])
def test_other_paths(ui: str, path: str) -> None:
    """Pages and their parts are no API, not even with an escape in them."""
    assert not PRESETS[ui].is_api(path)


@pytest.mark.parametrize(
    ("ui", "path", "shown"),
    [
        pytest.param("plain", "/api/v1/pod?filterBy=secret", "/api/v1/pod", id="query"),
        pytest.param("plain", "/", "/", id="root"),
        pytest.param("dashboard-2", "/api/sockjs/123/abcdefgh/websocket?id", "/api/sockjs/…", id="sockjs"),
        pytest.param("dashboard-7", "/api/sockjs/info?id", "/api/sockjs/…", id="sockjs-info"),
        pytest.param("headlamp", "/clusters/main/x?token=y", "/clusters/main/x", id="headlamp"),
    ],
)
def test_logged(ui: str, path: str, shown: str) -> None:
    """The log never shows a query, and nothing of a shell's secret id."""
    assert PRESETS[ui].logged(path) == shown


@pytest.mark.parametrize(
    ("ui", "body", "kind"),
    [
        ("dashboard-2", b"MSG_TOKEN_EXPIRED_ERROR", "text/plain"),
        ("dashboard-7", b"MSG_LOGIN_UNAUTHORIZED_ERROR", "text/plain"),
    ],
)
def test_unauthorized_in_the_ui_s_words(ui: str, body: bytes, kind: str) -> None:
    """The Dashboards' scripts understand exactly these texts."""
    assert (PRESETS[ui].unauthorized, PRESETS[ui].unauthorized_type) == (body, kind)


@pytest.mark.parametrize("ui", ["headlamp", "plain"])
def test_unauthorized_for_programs(ui: str) -> None:
    """Elsewhere the 401 is JSON."""
    preset = PRESETS[ui]
    assert preset.unauthorized_type == "application/json"
    assert json.loads(preset.unauthorized)["error"] == "unauthorized"


def test_login_status() -> None:
    """Dashboard 2.7 is told that nobody is signed in, over https; an error would set its guards spinning."""
    answered = PRESETS["dashboard-2"].answered
    assert list(answered) == ["/api/v1/login/status"]
    assert json.loads(answered["/api/v1/login/status"]) == {
        "tokenPresent": False,
        "headerPresent": False,
        "httpsMode": True,
        "impersonationPresent": False,
        "impersonatedUser": "",
    }


@pytest.mark.parametrize(
    ("ui", "cookies"),
    [
        ("dashboard-2", {"jweToken"}),
        ("dashboard-7", {"token", "jweToken"}),
        ("headlamp", {"headlamp-auth-*"}),
        ("plain", set()),
    ],
)
def test_token_cookies(ui: str, cookies: set[str]) -> None:
    """The UI's own login cookies, which would only confuse it."""
    assert set(PRESETS[ui].token_cookies) == cookies


@pytest.mark.parametrize("ui", ["dashboard-2", "dashboard-7", "plain"])
def test_sockjs_page_from_elsewhere(ui: str) -> None:
    """SockJS's iframe page loads a script from another site: it is not served."""
    assert "/api/sockjs/iframe-1.html".startswith(PRESETS[ui].no_passage)
    assert not "/api/sockjs/info".startswith(PRESETS[ui].no_passage)
