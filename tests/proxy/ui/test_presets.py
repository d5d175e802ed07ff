"""What the gate knows of each UI (facts of Dashboard 2.7, Dashboard 7 and Headlamp)."""

import json

import pytest

from oidcgate.inbound import RawHeaders, read_head
from oidcgate.proxy.headers import end_to_end
from oidcgate.proxy.ui import PRESETS

EVERY = sorted(PRESETS)
OWN = b"__Host-oidcgate"
HEADLAMP_ASKS_AGAIN = (408, 502, 504)  # after any other failure of its first question it shows its token form


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
        pytest.param("dashboard-7", "/settings", id="dashboard-7-settings"),
        pytest.param("dashboard-2", "/api/v1/pod/%20?itemsPerPage=10&page=1", id="all-namespaces"),
        pytest.param("dashboard-2", "/api/v1/clusterrole/system:node", id="colon"),
        pytest.param("dashboard-2", "/api/v1/log/file/default/pod/main", id="download"),
        pytest.param("headlamp", "/clusters/main/me", id="headlamp-me"),
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
        pytest.param("dashboard-2", "/api/sockjs/123/id/xhr_send", "/api/sockjs/…", id="sockjs-xhr"),
        pytest.param("dashboard-2", "/%61pi/sockjs/123/id", "/api/sockjs/…", id="sockjs-escaped"),
        pytest.param("dashboard-2", "/%2561pi/sockjs/123/id", "/api/sockjs/…", id="sockjs-escaped-twice"),
        pytest.param("dashboard-2", "/api//sockjs/123/id", "/api/sockjs/…", id="sockjs-empty-segment"),
        pytest.param("dashboard-2", "/x/../api/sockjs/123/id", "/api/sockjs/…", id="sockjs-dots"),
        pytest.param("dashboard-2", "/api;x/sockjs/123/id", "/api/sockjs/…", id="sockjs-parameter"),
        pytest.param("dashboard-2", "/api/sockjs/1" + "%2f" * 400, "/api/sockjs/…", id="sockjs-refused-anyway"),
        pytest.param("dashboard-2", "/api/v1/pod/a/b/shell/c", "/api/v1/pod/a/b/shell/c", id="shell"),
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
        ("dashboard-2", {"jweToken", "username", "skipLoginPage", "authMode"}),
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


@pytest.mark.parametrize(
    ("ui", "cookies", "kept"),
    [
        pytest.param("dashboard-2", b"jweToken=x; lang=de; username=bob", b"lang=de", id="dashboard-2"),
        pytest.param("dashboard-2", b"skipLoginPage=true; authMode=token", b"", id="dashboard-2-skip"),
        pytest.param("dashboard-2", b"JWETOKEN=x; jwetoken =y; a=b", b"a=b", id="another-spelling"),
        pytest.param("dashboard-7", b"token=x; jweToken=y; lang=de", b"lang=de", id="dashboard-7"),
        pytest.param("dashboard-7", b"tokens=x; atoken=y", b"tokens=x; atoken=y", id="only-like-it"),
        pytest.param(
            "headlamp", b"headlamp-auth-main.0=x; headlamp-auth-main.1=y; a=b", b"a=b", id="headlamp-in-parts"
        ),
        pytest.param(
            "headlamp", b"headlamp-auth-other_cluster.0=x; theme=dark", b"theme=dark", id="headlamp-any-cluster"
        ),
        pytest.param("headlamp", b"Headlamp-Auth-main.0=x", b"", id="headlamp-another-spelling"),
        pytest.param("plain", b"token=x; jweToken=y", b"token=x; jweToken=y", id="plain"),
    ],
)
def test_cookies_that_go_on(ui: str, cookies: bytes, kept: bytes) -> None:
    """All but the UI's own login's; the page's language stays."""
    raw: RawHeaders = ((b"Host", b"ui.example.com"), (b"Cookie", cookies))
    names = [name.encode() for name in PRESETS[ui].token_cookies]
    block = end_to_end(raw, read_head(raw, (1, 1)), own=OWN, others=names)
    assert block == (b"Cookie: " + kept + b"\r\n" if kept else b"")


def test_meanwhile() -> None:
    """What one failure would make a client take for the end of the login: somebody signed in is told that they are."""
    told = {name: dict(preset.meanwhile) for name, preset in PRESETS.items() if preset.meanwhile}
    assert sorted(told) == ["dashboard-2", "dashboard-7"]
    status = json.loads(told["dashboard-2"].pop("/api/v1/login/status"))
    assert status == json.loads(PRESETS["dashboard-2"].answered["/api/v1/login/status"]) | {"headerPresent": True}
    assert json.loads(told["dashboard-7"].pop("/api/v1/me")) == {"authenticated": True}
    assert told == {"dashboard-2": {}, "dashboard-7": {}}


def test_me_is_never_answered_without_a_session() -> None:
    """Dashboard 7 would show itself to somebody signed out; for them the 401 is right."""
    assert not PRESETS["dashboard-7"].answered


@pytest.mark.parametrize("ui", EVERY)
def test_what_is_tried_again(ui: str) -> None:
    """Just the questions that the guards go by; they are scripts', and safe to repeat."""
    preset = PRESETS[ui]
    expected = {"dashboard-2": ("/api/v1/login/status",), "dashboard-7": ("/api/v1/me",)}
    assert preset.tried_again == expected.get(ui, ())
    assert all(preset.is_api(path) for path in preset.tried_again)
    assert set(preset.meanwhile) == set(preset.tried_again)


@pytest.mark.parametrize("ui", EVERY)
def test_status_of_an_outage(ui: str) -> None:
    """503 to all but Headlamp, to whom it would mean that a token is wanted."""
    assert PRESETS[ui].outage_status == (504 if ui == "headlamp" else 503)
    assert PRESETS["headlamp"].outage_status in HEADLAMP_ASKS_AGAIN


@pytest.mark.parametrize("ui", EVERY)
def test_who_is_told_more(ui: str) -> None:
    """Only Headlamp reads further headers; what it reads is what --proxy-auth is to be told."""
    assert PRESETS[ui].identity_headers == (("x-forwarded",) if ui == "headlamp" else ())


@pytest.mark.parametrize("ui", EVERY)
def test_who_may_ignore_the_bearer(ui: str) -> None:
    """2.7 alone: 7.x and Headlamp have no account that acts for everybody."""
    assert PRESETS[ui].may_ignore_bearer is (ui == "dashboard-2")


@pytest.mark.parametrize(
    "path",
    [
        "/api/sockjs/iframe.html",
        "/api/sockjs/iframe-1.6.1.html?t=1",
        "/%61pi/sockjs/iframe.html",
        "/api//sockjs/iframe.html",
    ],
)
@pytest.mark.parametrize("ui", ["dashboard-2", "dashboard-7", "plain"])
def test_closed_in_every_spelling(ui: str, path: str) -> None:
    """However a server behind may read it."""
    assert PRESETS[ui].is_closed(path.partition("?")[0])
    assert not PRESETS[ui].is_closed("/api/sockjs/info")


@pytest.mark.parametrize("ui", ["dashboard-2", "dashboard-7"])
def test_the_401_is_one_of_the_texts_that_are_known(ui: str) -> None:
    """Exactly, without a line's end: the clients compare it whole."""
    known = {"dashboard-2": ("MSG_TOKEN_EXPIRED_ERROR", "MSG_ENCRYPTION_KEY_CHANGED")}
    assert PRESETS[ui].unauthorized.decode() in known.get(ui, ("MSG_LOGIN_UNAUTHORIZED_ERROR",))
