"""What is said of a request is what the gate does with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.config.model import Config
from oidcgate.errors import ConfigError
from oidcgate.web.explain import NoSite, explain
from oidcgate.web.explanation import Explanation
from oidcgate.web.question import Kind, Person, Question
from tests.support.browser import NAVIGATION, SCRIPT
from tests.support.central import Central
from tests.support.stack import merged
from tests.web.steps import PLAIN, gate_of, quick_stack

DASH = "https://dash.example.com"
EVIL = "https://evil.example"
ACCESS = {
    "groups": ["staff"],
    "email_domains": ["ops.example.com"],
    "rules": [
        {"path": "/healthz", "public": True},
        {"path": "/admin*", "groups": ["admins"]},
        {"path": "/api/*", "methods": ["POST"], "emails": ["alice@example.com"]},
    ],
}
ALICE = Person("alice@example.com", groups=("staff",))


def configured(site: dict[str, Any] | None = None, *others: dict[str, Any], **more: Any) -> Config:
    """A configuration of the dashboard's site and others."""
    own = {"url": DASH, "upstream": {"url": "http://ui:80"}}
    document = {
        "provider": {"issuer": "https://dex.example.com/dex", "client_id": "gate"},
        "sites": [merged(own, site or {}), *others],
    }
    return parse_config({**document, **more}, folder=Path("."), files=False)


def said(
    path: str = "/",
    *,
    site: dict[str, Any] | None = None,
    config: Config | None = None,
    person: Person | None = ALICE,
    **question: Any,
) -> Explanation:
    """What is said of a request for a path."""
    url = path if path.startswith("http") else DASH + path
    return explain(config or configured(site), Question(url, person=person, **question))


def fact(explanation: Explanation, name: str) -> str:
    """The text of a fact."""
    return next(fact.text for fact in explanation.facts if fact.name == name)


# The verdict


@pytest.mark.parametrize(
    ("path", "question", "outcome", "text"),
    [
        pytest.param("/", {}, "allow", "passed to http://ui:80", id="allowed"),
        pytest.param("/healthz", {"person": None}, "allow", "passed to http://ui:80", id="public"),
        pytest.param("/a?b=1", {"person": None}, "login", f"302 to {DASH}/oauth2/start?rd=%2Fa%3Fb%3D1", id="login"),
        pytest.param("/", {"person": None, "kind": "script"}, "unauthorized", "401 in the words that plain", id="401"),
        pytest.param("/", {"person": Person("bob@example.com")}, "forbidden", "403: You are signed in", id="access"),
        pytest.param("/admin", {}, "forbidden", "(by sites[0].access.rules[1])", id="rule"),
        pytest.param("/x/..%2fadmin", {}, "forbidden", "(by sites[0].access.rules[1])", id="rule-of-a-reading"),
        pytest.param("/", {"kind": "script", "origin": EVIL}, "forbidden", "403: For your safety", id="crossing"),
        pytest.param("/", {"kind": "websocket"}, "allow", "passed to http://ui:80", id="websocket"),
        pytest.param("/", {"kind": "websocket", "origin": EVIL}, "forbidden", "403: For your safety", id="hijack"),
        pytest.param(
            "/", {"kind": "websocket", "method": "POST"}, "refused", "400 refused: Only a plain", id="no-socket"
        ),
        pytest.param("/", {"origin": EVIL}, "allow", "passed to http://ui:80", id="led-here"),
        pytest.param("/", {"method": "POST"}, "allow", "passed to http://ui:80", id="form"),
        pytest.param("/", {"method": "POST", "origin": EVIL}, "forbidden", "403: For your safety", id="foreign-form"),
        pytest.param("/api/sockjs/iframe.html", {}, "forbidden", "403: This page would load code", id="closed"),
        pytest.param("/a\\b", {}, "refused", "400 refused: The address", id="no-path"),
        pytest.param("/" + "%41" * 500, {}, "refused", "400 refused: This address could be read", id="too-ambiguous"),
        pytest.param("/", {"method": "TRACE"}, "refused", "405 refused: This method", id="method"),
        pytest.param("/oauth2/start", {"person": None}, "own", "answered by the gate itself", id="own-page"),
        pytest.param("/oauth2/auth/nginx", {}, "own", "answered by the gate itself", id="question"),
        pytest.param("/oauth2/auth/apache", {}, "refused", "404 refused: There is no such dialect", id="no-dialect"),
    ],
)
def test_verdict(path: str, question: dict[str, Any], outcome: str, text: str) -> None:
    """Each way that a request can go, and whether it goes on."""
    found = said(path, site={"access": ACCESS}, **question)
    assert found.to_object()["verdict"]["outcome"] == outcome
    assert text in fact(found, "verdict")
    assert found.passes == (outcome in ("allow", "login", "own"))


KINDS: dict[str, tuple[Kind, dict[str, str]]] = {"page": ("page", NAVIGATION), "script": ("script", SCRIPT)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["alice", "bob", None])
async def test_agrees_with_the_running_gate(kind: str, who: str | None) -> None:
    """The status that a browser meets is the one that was told."""
    rules = [{"path": "/api/v1/me", "groups": ["platform-admins"]}, {"path": "/public", "public": True}]
    async with quick_stack(site={"access": {"rules": rules}}) as stack:
        people = {person.login: person for person in stack.issuer.people.values()}
        person = Person(people[who].email, groups=people[who].groups) if who else None
        browser = await stack.browser(who)
        asks, headers = KINDS[kind]
        for path in ("/", "/public", "/api/v1/me", "/api/v1/%6de", "/api//v1/me", "/api/sockjs/iframe.html"):
            page = await browser.send("GET", stack.url + path, headers)
            told = explain(gate_of(stack).config, Question(stack.url + path, person=person, kind=asks))
            verdict = told.to_object()["verdict"]
            if verdict["outcome"] == "allow":
                assert page.status not in (302, 401, 403, 421), path
            else:
                assert page.status == verdict["status"], path


async def test_the_headers_are_those_that_arrive() -> None:
    """What was told comes to the UI, letter by letter but for the token and the address."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200
        told = explain(gate_of(stack).config, Question(f"{stack.url}/api/v1/me", person=ALICE, kind="script"))
        assert stack.ui is not None
        arrival = next(a for a in stack.ui.arrivals if a.raw_target == "/api/v1/me")
        for line in told.to_object()["headers"]:
            name, _, value = line.partition(": ")
            (arrived,) = arrival.values(name)
            assert arrived == value or value in ("<the browser's address>", "Bearer <ID token for gate>")


# What is told of the site, the lists and the rules


def test_facts_in_their_order() -> None:
    """Always the same facts in the same order."""
    names = ["site", "request", "person", "access", "rule", "verdict", "headers", "removed", "cookie", "login"]
    assert [fact.name for fact in said().facts] == names
    assert [fact.name for fact in said(person=None).facts] == names
    assert [fact.name for fact in said("/oauth2/").facts] == [*names[:3], "verdict", "cookie", "login"]
    assert [fact.name for fact in said(method="X").facts] == [*names[:3], "verdict", "cookie", "login"]


@pytest.mark.parametrize(
    ("person", "text"),
    [
        (Person("alice@example.com", groups=("staff", "x")), "admitted by groups: [staff]"),
        (Person("Eve@OPS.example.com"), "admitted by email_domains: [ops.example.com]"),
        (
            Person("eve@ops.example.com", groups=("staff",)),
            "admitted by groups: [staff], email_domains: [ops.example.com]",
        ),
        (Person("bob@example.com"), "not admitted by groups: [staff], email_domains: [ops.example.com]"),
        (None, "one of groups: [staff], email_domains: [ops.example.com]"),
    ],
)
def test_which_list_admits(person: Person | None, text: str) -> None:
    """The lists that open the site to this person, or all that do not."""
    assert fact(said(site={"access": ACCESS}, person=person), "access") == text


def test_what_the_cluster_must_permit() -> None:
    """It is named, and that nobody asked for it here; not of a public path."""
    may = {"may": {"verb": "list", "resource": "pods"}, "rules": [{"path": "/healthz", "public": True}]}
    site = {"access": may, "kubernetes": {"api": "https://api.example.com"}}
    found = said(site=site, person=Person("a@b.org"))
    assert "and who may list pods everywhere in the cluster: its API server is asked" in fact(found, "access")
    assert found.to_object()["access"]["may"] == {"verb": "list", "resource": "pods"}
    assert fact(said("/healthz", site=site), "access") == "not asked: the rule is public"


def test_without_lists_everyone_passes() -> None:
    """An empty access is said to be one; that of a public path is not asked."""
    assert fact(said(), "access") == "everyone the provider lets in"
    assert fact(said("/healthz", site={"access": ACCESS}), "access") == "not asked: the rule is public"


@pytest.mark.parametrize(
    ("path", "question", "text"),
    [
        ("/", {}, "no rule matches"),
        ("/admin/x", {}, "sites[0].access.rules[1] path: /admin*, groups: [admins] (refuses)"),
        ("/admin/x", {"person": None}, "sites[0].access.rules[1] path: /admin*, groups: [admins]"),
        (
            "/api/x",
            {"method": "POST"},
            "sites[0].access.rules[2] path: /api/*, methods: [POST], emails: [alice@example.com] (admits)",
        ),
        ("/api/x", {}, "no rule matches"),
        ("/healthz", {}, "sites[0].access.rules[0] path: /healthz, public: true"),
    ],
)
def test_which_rule_decides(path: str, question: dict[str, Any], text: str) -> None:
    """By its place in the file and by what it says."""
    assert fact(said(path, site={"access": ACCESS}, **question), "rule") == text


def test_without_rules() -> None:
    """A site without rules says so."""
    assert fact(said(), "rule") == "there are no rules"


def test_readings_that_decide_otherwise() -> None:
    """Each other reading of a path that another rule decides has a line; those that change nothing have none."""
    found = said("/x/..%2fadmin", site={"access": ACCESS})
    assert fact(found, "readings") == "/admin: sites[0].access.rules[1] path: /admin*, groups: [admins] (refuses)"
    (reading,) = found.to_object()["readings"]
    assert (reading["path"], reading["rule"]["at"]) == ("/admin", "sites[0].access.rules[1]")
    assert "readings" not in said("/x%20y", site={"access": ACCESS}).to_object()


def test_an_ambiguous_path_is_never_public() -> None:
    """A public rule that matches but does not count is told with the reason."""
    access = {"rules": [{"path": "/docs*", "public": True}]}
    found = said("/docs//x", site={"access": access}, person=None)
    assert fact(found, "rule").endswith("public: true (but not for an address that can be read in several ways)")
    assert found.to_object()["verdict"]["outcome"] == "login"


def test_rules_that_are_alike_are_told_apart() -> None:
    """The second site's rule has the second site's path."""
    rule = {"access": {"rules": [{"path": "/x"}]}}
    other = {"url": "https://two.example.com", "upstream": {"url": "http://ui"}, **rule}
    found = said("https://two.example.com/x", config=configured(rule, other))
    assert fact(found, "rule") == "sites[1].access.rules[0] path: /x"
    assert fact(found, "site") == "sites[1] https://two.example.com"


def test_no_site() -> None:
    """A host of no site is named, and those that there are."""
    with pytest.raises(NoSite) as caught:
        said("https://other.example.com/")
    assert str(caught.value) == f"no site has the host other.example.com; there are: {DASH}"


# The person and the request


def test_person() -> None:
    """By address, by subject, or nobody; an address that no token could hold is none."""
    assert fact(said(person=Person("A@Example.com", groups=("x", "y"))), "person") == "A@example.com, groups: [x, y]"
    assert fact(said(person=Person(subject="Cg0")), "person") == "Cg0, without a usable address, groups: []"
    assert fact(said(person=Person("no address")), "person") == "<subject>, without a usable address, groups: []"
    assert fact(said(person=None), "person") == "nobody is signed in"
    with pytest.raises(ConfigError, match="--subject: sub: expected a string"):
        said(person=Person(subject="x" * 256))


def test_request() -> None:
    """As a browser would send it, and how the gate sees where it comes from."""
    text = fact(said("/ä b?q=1#frag", method="HEAD"), "request")
    assert text.startswith(f"HEAD {DASH}/%C3%A4%20b?q=1: a browser opens a page (from our own pages")
    text = fact(said(origin=EVIL), "request")
    assert text.endswith(f"from {EVIL} (another site leads the person here)")
    assert fact(said(method="X"), "request") == f"X {DASH}/: a browser opens a page"


# What goes to the UI


def test_headers_to_the_ui() -> None:
    """The token for the site's audience, and where the request came from; never a secret."""
    found = said(site={"provider": {"audience": "cluster-one"}}).to_object()["headers"]
    assert "Authorization: Bearer <ID token for cluster-one>" in found
    assert {"Host: ui", "X-Forwarded-Proto: https", "X-Forwarded-Host: dash.example.com"} <= set(found)
    assert "X-Forwarded-For: <the browser's address>" in found
    assert not any("AAAA" in line or "Cookie" in line for line in found)


@pytest.mark.parametrize(
    ("site", "question"),
    [
        ({"identity": "none"}, {}),
        ({"access": ACCESS}, {"person": None, "path": "/healthz"}),
        ({"access": ACCESS}, {"path": "/healthz"}),
    ],
)
def test_no_token(site: dict[str, Any], question: dict[str, Any]) -> None:
    """A site that is only fenced, and a public path, get none."""
    found = said(**{"site": site, **question})
    assert found.passes
    assert not any(line.startswith("Authorization") for line in found.to_object()["headers"])


def test_removed() -> None:
    """Our cookies, the UI's own, and whatever says who somebody is."""
    cookies, headers = said(site={"upstream": {"ui": "dashboard-7"}}).to_object()["removed"]
    assert cookies == "cookies __Host-oidcgate*, token, jweToken"
    assert {"Authorization", "Impersonate-*", "X-Remote-*", "X-Forwarded-*"} <= set(
        headers.removeprefix("headers ").split(", ")
    )


def test_nothing_is_sent_of_what_is_refused() -> None:
    """A refused request has no headers to show."""
    assert fact(said("/admin", site={"access": ACCESS}), "headers") == "nothing is sent"


def test_a_ui_that_must_show_first_that_it_heeds_the_token() -> None:
    """The Dashboard 2.7 over plain HTTP is asked before anything is passed to it."""
    assert "once it has shown" in fact(said(site={"upstream": {"ui": "dashboard-2"}}), "verdict")
    secure = {"upstream": {"ui": "dashboard-2", "url": "https://ui", "ca_file": "/nowhere"}}
    assert "once" not in fact(said(site=secure), "verdict")


def test_the_presets_own_words() -> None:
    """A script's 401 is in the words of the UI, and what the preset answers by itself is 200."""
    site = {"upstream": {"ui": "dashboard-2"}}
    ask: dict[str, Any] = {"site": site, "person": None, "kind": "script"}
    assert fact(said("/x", **ask), "verdict").endswith("dashboard-2 understands: MSG_TOKEN_EXPIRED_ERROR")
    found = said("/api/v1/login/status", **ask)
    assert fact(found, "verdict").startswith('200 in the words that dashboard-2 understands: {"tokenPresent"')
    assert not found.passes


def test_replicas() -> None:
    """Any of them may serve."""
    assert (
        fact(said(site={"upstream": {"url": ["http://a", "http://b"]}}), "verdict") == "passed to http://a or http://b"
    )


# The cookie, and where logins end


def test_cookie_of_a_host() -> None:
    """One a host, and how long it is good for."""
    found = said(config=configured(session={"idle": "30m", "lifetime": "8h"}))
    assert fact(found, "cookie") == (
        "__Host-oidcgate=<handle>; Path=/; HttpOnly; SameSite=Lax; Secure\n"
        "reaches dash.example.com alone; ends after 30m without a request, 8h at the latest; never the UI"
    )


def test_cookie_of_a_domain() -> None:
    """One for all hosts below it."""
    found = said(config=configured(session={"cookie": {"domain": "example.com"}}))
    assert "Domain=example.com" in fact(found, "cookie")
    assert found.to_object()["cookie"]["reaches"] == "example.com and every host below it"


def test_where_logins_end() -> None:
    """The address to register, of the site's own client; and that the login is handed on."""
    own = {"client_id": "two", "client_secret_env": "X"}
    other = {"url": "https://two.example.com", "upstream": {"url": "http://ui"}, "provider": own}
    config = configured(None, other)
    assert fact(said(config=config), "login") == (
        f"{DASH}/oauth2/callback (in https://dex.example.com/dex, among the redirectURIs of gate)"
    )
    text = fact(said("https://two.example.com/", config=config), "login")
    assert text.startswith(f"{DASH}/oauth2/callback/")
    assert text.endswith("among the redirectURIs of two); from there handed to https://two.example.com")


# Sites that another proxy carries

WILD = {"url": "https://*.example.org", "access": {"rules": [{"path": "/metrics", "groups": ["ops"]}]}}
PEERS = {"forward_auth": {"peers": ["10.0.0.0/8"]}}


def test_a_wildcard_that_a_proxy_asks_about() -> None:
    """Said to be one, passed by the proxy, with what the answer tells it."""
    config = configured(None, WILD, **PEERS)
    found = said("https://graf.example.org/x", config=config, person=Person("a@b.org", "sub-1", ("x", "y")))
    assert fact(found, "site") == "sites[1] https://*.example.org: every host below example.org"
    assert fact(found, "verdict") == "allowed: passed by the proxy that asks"
    assert found.to_object()["headers"] == [
        "Authorization: Bearer <ID token for gate>",
        "X-Auth-Request-User: sub-1",
        "X-Auth-Request-Email: a@b.org",
        "X-Auth-Request-Groups: x,y",
        "X-Auth-Request-Preferred-Username: ",
    ]
    assert fact(found, "removed").startswith("nothing by the gate")
    assert not said("https://graf.example.org/metrics", config=config).passes


def test_a_proxys_sign_in() -> None:
    """Where one cookie serves all hosts, people sign in at the login host; scripts get the preset's 401."""
    wild = {"url": "https://*.k.example.com", "upstream": {"ui": "dashboard-2"}}
    site = {"url": "https://auth.k.example.com"}
    config = configured(site, wild, session={"cookie": {"domain": "k.example.com"}}, **PEERS)
    text = fact(said("https://x.k.example.com/a", config=config, person=None), "verdict")
    assert text == "302 to https://auth.k.example.com/oauth2/start?rd=https%3A%2F%2Fx.k.example.com%2Fa"
    path = "https://x.k.example.com/api/v1/login/status"
    assert fact(said(path, config=config, person=None, kind="script"), "verdict").startswith("401 ")


def test_a_host_for_logins_only() -> None:
    """It has a landing page, and nothing else."""
    other = {"url": "https://two.example.com", "upstream": {"url": "http://ui"}}
    config = configured({"upstream": {"url": []}}, other)
    found = said("/", config=config)
    assert fact(found, "verdict") == f"302 to {DASH}/oauth2/"
    assert found.passes
    found = said("/x", config=config)
    assert fact(found, "verdict").startswith("421 refused: This gate only signs people in")
    assert not found.passes


async def test_agrees_with_the_answers_to_a_proxy() -> None:
    """The headers that were told are the answer's, but for the token."""
    async with Central(audiences=False) as stack:
        url = stack.of("wild") + "/x"
        browser = await stack.browser(None)
        page = await browser.sign_in(f"{stack.of('wild')}/oauth2/start?rd=/oauth2/userinfo")
        assert page.status == 200, page.text
        me = json.loads(page.text)
        asked = {**PLAIN, "X-Original-URL": url, "X-Original-Method": "GET", "Cookie": browser.cookie_header(url)}
        reply = (await browser.send("GET", f"{stack.of('wild')}/oauth2/auth/nginx", asked)).reply
        assert reply.status == 200
        person = Person(me["email"], me["subject"], tuple(me["groups"]))
        for line in explain(gate_of(stack).config, Question(url, person=person)).to_object()["headers"]:
            name, _, value = line.partition(": ")
            if name not in ("Authorization", "X-Auth-Request-Preferred-Username"):
                assert reply.value(name) == value.strip()
