"""Which requests act in the cluster, in every UI's words and in every spelling that a server may understand."""

import gzip
import zlib

import pytest

from oidcgate.errors import RequestError
from oidcgate.proxy.ui.actions import (
    LONGEST_NAME,
    MOST_SHELL_REPLY,
    Action,
    action_of,
    id_in_query,
    id_in_reply,
)
from oidcgate.web.site import quick_target

ID = "0123456789abcdef" * 2
CART = {"namespace": "shop", "pod": "cart-1"}
PODS = "/api/v1/namespaces/shop/pods/cart-1"
KEY = {"namespace": "shop", "secret": "key"}

ACTIONS = [
    # The API server.
    ("GET", f"{PODS}/exec?container=cart&command=sh", Action("exec", **CART, container="cart")),
    ("POST", f"{PODS}/exec?command=sh&container=cart", Action("exec", **CART, container="cart")),
    ("GET", f"{PODS}/exec", Action("exec", **CART)),
    ("GET", f"{PODS}/exec/", Action("exec", **CART)),
    ("GET", f"{PODS}/attach?stdout=1", Action("attach", **CART)),
    ("GET", f"{PODS}/portforward?ports=8080", Action("port_forward", **CART)),
    ("POST", f"{PODS}/portforward", Action("port_forward", **CART)),
    ("GET", "/api/v1/namespaces/shop/secrets/key", Action("secret", **KEY)),
    ("GET", "/api/v1/namespaces/shop/secrets/key?x=/a", Action("secret", **KEY)),
    ("PATCH", "/api/v1/namespaces/shop/secrets/key", Action("secret", **KEY)),
    ("GET", "/api/v1/namespaces/shop/secrets", Action("secret", namespace="shop")),
    ("GET", "/api/v1/namespaces/shop/secrets/?limit=500", Action("secret", namespace="shop")),
    ("GET", "/api/v1/secrets?watch=1", Action("secret")),
    ("GET", "/api/v1/watch/secrets", Action("secret")),
    ("GET", "/api/v1/watch/namespaces/shop/secrets/key", Action("secret", **KEY)),
    ("POST", "/api/v1/nodes/n1/proxy/run/shop/cart-1/cart?cmd=sh", Action("exec", **CART, container="cart")),
    ("GET", "/api/v1/nodes/n1:10250/proxy/exec/shop/cart-1/uid/cart", Action("exec", **CART, container="cart")),
    ("GET", "/api/v1/nodes/n1/proxy/attach/shop/cart-1/cart", Action("attach", **CART, container="cart")),
    ("GET", "/api/v1/nodes/n1/proxy/portForward/shop/cart-1", Action("port_forward", **CART)),
    # Behind a prefix of somebody else's.
    ("GET", f"/k8s{PODS}/exec", Action("exec", **CART)),
    # The Dashboard.
    ("GET", "/api/v1/pod/shop/cart-1/shell/cart", Action("shell", **CART, container="cart")),
    ("GET", "/api/v1/secret/shop/key", Action("secret", **KEY)),
    ("GET", "/api/v1/_raw/secret/namespace/shop/name/key", Action("secret", **KEY)),
    ("GET", f"/api/sockjs/012/abcdefgh/websocket?{ID}", Action("exec", leg="websocket")),
    ("POST", f"/api/sockjs/012/abcdefgh/xhr_streaming?{ID}", Action("exec", leg="xhr_streaming")),
    ("POST", "/api/sockjs/012/abcdefgh/xhr", Action("exec", leg="xhr")),
    ("GET", "/api/sockjs/012/abcdefgh/eventsource", Action("exec", leg="eventsource")),
    ("POST", "/api/sockjs/012/abcdefgh/xhr_send", Action("exec", leg="send")),
    ("POST", "/api/sockjs/012/abcdefgh/jsonp_send", Action("exec", leg="send")),
    # Headlamp.
    ("GET", f"/clusters/main{PODS}/exec?container=cart", Action("exec", "main", **CART, container="cart")),
    ("GET", "/clusters/main/api/v1/namespaces/shop/secrets/key", Action("secret", "main", **KEY)),
    ("GET", "/headlamp/clusters/main/api/v1/secrets", Action("secret", "main")),
    ("POST", "/clusters/main/portforward", Action("port_forward", "main")),
    ("POST", "/portforward", Action("port_forward")),
]


def found(method: str, target: str) -> Action | None:
    """What a request does."""
    path, _, query = target.partition("?")
    return action_of(method, path, query)


@pytest.mark.parametrize(("method", "target", "action"), ACTIONS)
def test_actions(method: str, target: str, action: Action) -> None:
    """Each is told with its names, and none of them may take the quick way."""
    assert found(method, target) == action
    assert not quick_target("/oauth2", ()).fullmatch(target)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/shop/pods/cart-1/%65xec",
        "/api/v1/namespaces/shop/pods/cart-1/%2565xec",
        "/api/v1/namespaces/shop/pods/cart-1%2Fexec",
        "/api/v1/namespaces/shop/pods/cart-1/./exec",
        "/api/v1/namespaces/shop/pods/cart-1//exec",
        "/api/v1/namespaces/shop/pods/cart-1/exec;x=1",
        "/api/v1/namespaces/shop/pods/other/log/../../cart-1/exec",
        "/api/v1/namespaces/shop/pods/cart-1/exec%3Fx",
        "/api/v1/%6eamespaces/shop/pods/cart-1/exec",
        "/x/..;/api/v1/namespaces/shop/pods/cart-1/exec",
        "/api/v1/namespaces/%73hop/pods/cart%2D1/exec",
        "/api/v1/namespaces/shop/pods/cart-1/exec%00",
    ],
)
def test_spellings(path: str) -> None:
    """What some server reads as an action is one, with names as that server reads them, on the slow way."""
    assert action_of("GET", path, "") == Action("exec", **CART)
    assert not quick_target("/oauth2", ()).fullmatch(path)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/api/v1/namespaces/shop/pods"),
        ("GET", PODS),
        ("GET", f"{PODS}/log"),
        ("GET", f"{PODS}/execute"),
        ("GET", "/api/v1/namespaces/shop/pods/exec"),
        ("GET", "/api/v1/namespaces/exec/pods"),
        ("GET", "/api/v1/namespaces/shop/services/x?y=/exec"),
        ("HEAD", "/api/v1/namespaces/shop/secrets/key"),
        ("OPTIONS", "/api/v1/namespaces/shop/secrets/key"),
        ("GET", "/api/v1/secret/shop"),
        ("GET", "/api/v1/secret/%20?itemsPerPage=10"),
        ("GET", "/api/v1/namespaces/shop/configmaps/secrets"),
        ("GET", f"/api/sockjs/info?{ID}&t=1"),
        ("GET", "/static/shell.js"),
        ("GET", "/run"),
    ],
)
def test_no_actions(method: str, target: str) -> None:
    """Everything else is none."""
    assert found(method, target) is None


def test_pods_with_odd_names_take_the_slow_way_only() -> None:
    """The quick way declines a path with such a segment, and no path without one."""
    quick = quick_target("/oauth2", ())
    for target in (
        "/api/v1/namespaces/exec/pods",
        "/exec",
        "/%20/exec",
        "/a/%20b/shell/c",
        "/secrets?a",
        "/a/secret/b",
    ):
        assert not quick.fullmatch(target), target
    for target in (
        "/executor",
        "/api/v1/pod/shop?x=/exec",
        "/secret",
        "/runs/1",
        "/a/%20?b",
        "/shells/1",
        "/a/sockjs.js",
    ):
        assert quick.fullmatch(target), target


def test_too_many_readings() -> None:
    """A path that nobody means well with is refused, as everywhere."""
    with pytest.raises(RequestError):
        action_of("GET", "/exec/%25252e/" * 200, "")


def test_a_long_path_costs_little() -> None:
    """Only a path's end is looked at."""
    assert action_of("GET", "/exec" * 10_000, "") is None


@pytest.mark.parametrize(
    ("query", "container"),
    [
        ("container=cart", "cart"),
        ("a=b&container=cart&container=other", "cart"),
        ("container=c%61rt", "cart"),
        ("c%6fntainer=cart", "cart"),
        ("container=", ""),
        ("xcontainer=cart", ""),
        ("container=" + "x" * 1000, "x" * LONGEST_NAME),
        ("container=a%0Ab", "a\nb"),
    ],
)
def test_container(query: str, container: str) -> None:
    """The first that the query names; the command that is run is never part of it."""
    assert action_of("GET", f"{PODS}/exec", f"command=sh&{query}") == Action("exec", **CART, container=container)


def test_all_namespaces() -> None:
    """The Dashboard's word for all of them is none."""
    assert action_of("GET", "/api/v1/secret/%20/key", "") == Action("secret", secret="key")


def test_streams() -> None:
    """What goes on until somebody ends it."""
    assert [kind for kind in ("exec", "attach", "port_forward", "secret", "shell") if Action(kind).is_stream] == [
        "exec",
        "attach",
        "port_forward",
    ]


@pytest.mark.parametrize(
    ("query", "shell"),
    [
        (ID, ID),
        (f"{ID}&c=_jp.abc", ID),
        (f"t=1&{ID}", ID),
        (f"x={ID}", None),
        (ID[1:], None),
        (ID.upper(), None),
        ("", None),
    ],
)
def test_id_in_query(query: str, shell: str | None) -> None:
    """SockJS sends it bare, beside what some transports add."""
    assert id_in_query(query) == shell


PLAIN = f'{{"id":"{ID}"}}'.encode()


@pytest.mark.parametrize(
    ("body", "shell"),
    [
        pytest.param(PLAIN, ID, id="plain"),
        pytest.param(f'{{\n "id": "{ID}"\n}}\n'.encode(), ID, id="indented"),
        pytest.param(gzip.compress(PLAIN), ID, id="gzip"),
        pytest.param(zlib.compress(PLAIN), ID, id="deflate"),
        pytest.param(gzip.compress(PLAIN)[:-5], None, id="cut-off"),
        pytest.param(gzip.compress(PLAIN + b" " * MOST_SHELL_REPLY), None, id="grows-too-large"),
        pytest.param(PLAIN + b" " * MOST_SHELL_REPLY, None, id="too-large"),
        pytest.param(b"\x1f\x8bnonsense", None, id="not-gzip"),
        pytest.param(f'{{"id":"{ID}","x":1}}'.encode(), None, id="more"),
        pytest.param(b'{"id":"short"}', None, id="short"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html>", None, id="page"),
    ],
)
def test_id_in_reply(body: bytes, shell: str | None) -> None:
    """Only that one object holds one, as it is or compressed."""
    assert id_in_reply(body) == shell
