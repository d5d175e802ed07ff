"""The REST API: the Dashboard's shapes, the API server's refusals."""

from typing import Any

import aiohttp
import pytest
from yarl import URL

from oidcgate.demo.ui import DemoUI, Rule

from .conftest import NOW, StartUI, TinyIssuer

CART = "cart-7d9f5c8b6d-x2x7k"
LEDGER = "ledger-6f8b7c9d55-r7vbc"


async def fetch(http: aiohttp.ClientSession, ui: DemoUI, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Status and JSON of a GET below /api/v1, the path sent as it stands."""
    reply = await http.get(URL(f"{ui.url}/api/v1/{path}", encoded=True), headers=headers)
    return reply.status, await reply.json()


async def test_me_is_what_the_api_server_believes(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Name, groups, subject, times, and the namespaces whose pods one may list."""
    assert await fetch(http, ui, "me", bob) == (
        200,
        {
            "authenticated": True,
            "username": "bob@example.com",
            "groups": ["team-shop"],
            "subject": "subject-2",
            "exp": NOW + 600,
            "iat": NOW - 10,
            "now": NOW,
            "namespaces": ["shop"],
        },
    )


async def test_login_status_tells_presence_not_validity(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """Any Authorization counts as present, and nobody is asked who they are."""
    headers = {"Authorization": "rubbish", "Impersonate-User": "eve", "jweToken": "x"}
    status = {
        "tokenPresent": True,
        "headerPresent": True,
        "httpsMode": True,
        "impersonationPresent": True,
        "impersonatedUser": "eve",
    }
    assert await fetch(http, ui, "login/status", headers) == (200, status)
    _, nobody = await fetch(http, ui, "login/status", {})
    assert (nobody["tokenPresent"], nobody["headerPresent"], nobody["impersonationPresent"]) == (False,) * 3


async def test_login_status_of_a_dashboard_that_would_ignore_the_bearer(
    start_ui: StartUI, http: aiohttp.ClientSession
) -> None:
    """The claim is the constructor's."""
    ui = await start_ui(https_mode=False)
    assert (await fetch(http, ui, "login/status", {}))[1]["httpsMode"] is False


async def test_namespaces(ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str]) -> None:
    """An admin sees them all."""
    status, body = await fetch(http, ui, "namespace", admin)
    names = [item["objectMeta"]["name"] for item in body["namespaces"]]
    assert (status, body["errors"]) == (200, [])
    assert names == ["shop", "payments", "monitoring", "kube-system"]
    assert body["listMeta"]["totalItems"] == 4


@pytest.mark.parametrize("path", ["pod/%20", "pod"])
async def test_pods_of_all_namespaces(
    ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str], path: str
) -> None:
    """An encoded space, or no namespace, stands for all."""
    status, body = await fetch(http, ui, path, admin)
    assert status == 200
    assert body["listMeta"]["totalItems"] == len(body["pods"]) == 14
    assert body["status"] == {"running": 11, "pending": 1, "failed": 1, "succeeded": 1}


PAGES = {
    "first page": ("itemsPerPage=2&page=1&sortBy=a,name", ["cart-7d9f5c8b6d-mq4vz", CART]),
    "third page": ("itemsPerPage=2&page=3&sortBy=a,name", ["frontend-84c7bd6f5d-4kqxs", "mailer-29187340-wz6gd"]),
    "beyond the end": ("itemsPerPage=2&page=9&sortBy=a,name", []),
    "no page": ("itemsPerPage=1&sortBy=d,name", ["mailer-29187340-wz6gd"]),
    "newest": ("itemsPerPage=1&page=1&sortBy=d,creationTimestamp", ["checkout-68d4cc5b9-l9fzp"]),
    "oldest": ("itemsPerPage=1&page=1&sortBy=a,creationTimestamp", ["catalog-5b6c9d7f48-t8hwn"]),
}


@pytest.mark.parametrize(("query", "names"), PAGES.values(), ids=PAGES)
async def test_pages(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], query: str, names: list[str]
) -> None:
    """Pages and orders, with the total of all pages."""
    _, body = await fetch(http, ui, f"pod/shop?{query}", bob)
    assert [pod["objectMeta"]["name"] for pod in body["pods"]] == names
    assert body["listMeta"]["totalItems"] == 6


async def test_a_pod(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """One pod with its container."""
    status, pod = await fetch(http, ui, f"pod/shop/{CART}", bob)
    assert (status, pod["objectMeta"]["name"], pod["status"]) == (200, CART, "Running")
    assert [container["name"] for container in pod["containers"]] == ["cart"]


@pytest.mark.parametrize("path", ["namespace", "pod/shop", "pod/%20"])
async def test_lists_hide_a_dead_token_in_a_200(
    ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer, path: str
) -> None:
    """An expired token gives an empty list with the 401 inside."""
    headers = {"Authorization": f"Bearer {issuer.token(exp=int(NOW))}"}
    status, body = await fetch(http, ui, path, headers)
    assert status == 200
    assert [error["ErrStatus"]["code"] for error in body["errors"]] == [401]
    assert body["listMeta"]["totalItems"] == 0


@pytest.mark.parametrize("path", ["namespace", "pod/shop", "pod/%20"])
async def test_lists_refuse_what_was_never_good(
    ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer, path: str
) -> None:
    """No token, or a stranger's, is a real 401 on a list as well."""
    for headers in ({}, {"Authorization": f"Bearer {issuer.token(key='second')}"}):
        assert (await fetch(http, ui, path, headers))[0] == 401


@pytest.mark.parametrize("path", ["me", f"pod/shop/{CART}", f"log/shop/{CART}", f"pod/shop/{CART}/shell/cart"])
async def test_all_else_refuses_a_dead_token(
    ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer, path: str
) -> None:
    """Off the lists, an expired token is a real 401."""
    headers = {"Authorization": f"Bearer {issuer.token(exp=int(NOW))}"}
    assert (await fetch(http, ui, path, headers))[0] == 401


@pytest.mark.parametrize(("path", "resource"), [("namespace", "namespaces"), ("pod/%20", "pods")])
async def test_cluster_wide_lists_hide_a_403_in_a_200(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], path: str, resource: str
) -> None:
    """What bob may not list cluster-wide comes empty, with the refusal inside."""
    status, body = await fetch(http, ui, path, bob)
    error = body["errors"][0]["ErrStatus"]
    assert (status, error["code"], body[resource]) == (200, 403, [])
    assert error["message"].endswith("at the cluster scope")


FORBIDDEN = {
    "another namespace's pods": ("bob", "pod/payments", "list", "pods"),
    "another namespace's pod": ("bob", f"pod/payments/{LEDGER}", "get", "pods"),
    "a pod that is not there": ("bob", "pod/payments/nope", "get", "pods"),
    "another namespace's log": ("bob", f"log/payments/{LEDGER}", "get", "pods/log"),
    "another namespace's shell": ("bob", f"pod/payments/{LEDGER}/shell/ledger", "create", "pods/exec"),
    "anything, without groups": ("carol", "pod/shop", "list", "pods"),
    "a log, without groups": ("carol", f"log/shop/{CART}", "get", "pods/log"),
}


@pytest.mark.parametrize(("who", "path", "verb", "resource"), FORBIDDEN.values(), ids=FORBIDDEN)
async def test_forbidden(
    request: pytest.FixtureRequest,
    ui: DemoUI,
    http: aiohttp.ClientSession,
    who: str,
    path: str,
    verb: str,
    resource: str,
) -> None:
    """A real 403 with the API server's sentence, whether the thing exists or not."""
    status, body = await fetch(http, ui, path, request.getfixturevalue(who))
    assert (status, body["reason"]) == (403, "Forbidden")
    assert f'User "{who}@example.com" cannot {verb} resource "{resource}"' in body["message"]


async def test_bob_may_not_delete(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """The refusal is word for word; the pod stays."""
    reply = await http.delete(f"{ui.url}/api/v1/pod/shop/{CART}", headers=bob)
    assert reply.status == 403
    assert (await reply.json())["message"] == (
        f'pods "{CART}" is forbidden: User "bob@example.com" cannot delete resource "pods" '
        'in API group "" in the namespace "shop"'
    )
    assert (await fetch(http, ui, f"pod/shop/{CART}", bob))[0] == 200


async def test_an_admin_deletes_once(ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str]) -> None:
    """The pod is gone, another is there in its place."""
    address = f"{ui.url}/api/v1/pod/shop/{CART}"
    assert (await http.delete(address, headers=admin)).status == 200
    assert (await http.delete(address, headers=admin)).status == 404
    status, body = await fetch(http, ui, f"pod/shop/{CART}", admin)
    assert (status, body["message"]) == (404, f'pods "{CART}" not found')
    assert (await fetch(http, ui, "pod/shop", admin))[1]["listMeta"]["totalItems"] == 6


async def test_rules_can_be_given(start_ui: StartUI, http: aiohttp.ClientSession, carol: dict[str, str]) -> None:
    """The constructor's rules replace the default ones."""
    ui = await start_ui(rules=[Rule("team-blue", namespaces=("payments",))])
    token = {"Authorization": carol["Authorization"]}
    assert (await fetch(http, ui, "me", token))[1]["namespaces"] == []


@pytest.mark.parametrize("path", [f"log/shop/{CART}", f"log/shop/{CART}/cart?referenceTimestamp=newest"])
async def test_a_log_by_polling(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], path: str) -> None:
    """The newest hundred lines, oldest first, the last one from this second."""
    status, body = await fetch(http, ui, path, bob)
    assert (status, len(body["logs"])) == (200, 100)
    assert body["logs"][-1]["timestamp"] == body["info"]["toDate"] == "2026-09-21T14:13:20Z"
    assert body["logs"][-1]["content"]


async def test_a_shell_is_offered(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """An id of 32 hex digits; a container that is not there is not found."""
    status, body = await fetch(http, ui, f"pod/shop/{CART}/shell/cart", bob)
    assert (status, len(bytes.fromhex(body["id"]))) == (200, 16)
    assert (await fetch(http, ui, f"pod/shop/{CART}/shell/nope", bob))[0] == 404


async def test_post_needs_the_csrf_token_of_its_action(
    ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str]
) -> None:
    """Without it, or with another action's, a 401 that has nothing to do with login."""
    _, good = await fetch(http, ui, "csrftoken/upload", {})
    _, other = await fetch(http, ui, "csrftoken/token", {})
    address = f"{ui.url}/api/v1/upload"
    for headers in (admin, admin | {"X-CSRF-TOKEN": other["token"]}, admin | {"X-CSRF-TOKEN": "é"}):
        reply = await http.post(address, headers=headers)
        assert (reply.status, await reply.text()) == (401, "CSRF validation failed")
    assert (await http.post(address, headers=admin | {"X-CSRF-TOKEN": good["token"]})).status == 200


async def test_replicas_may_share_the_csrf_key(start_ui: StartUI, http: aiohttp.ClientSession) -> None:
    """The same key gives the same tokens; fresh keys differ."""
    uis = [await start_ui(csrf_key=b"k"), await start_ui(csrf_key=b"k"), await start_ui()]
    tokens = [(await fetch(http, ui, "csrftoken/upload", {}))[1]["token"] for ui in uis]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/api/v1/pod/shop/x/y", "/metrics"])
async def test_the_rest_is_404_in_text(ui: DemoUI, http: aiohttp.ClientSession, path: str) -> None:
    """Unknown paths are not the API's JSON."""
    reply = await http.get(ui.url + path)
    assert (reply.status, reply.content_type) == (404, "text/plain")
