"""Who may pass, and what is public."""

from typing import Any

import pytest

from oidcgate.imports.map_access import NOBODY_EMAIL, NOBODY_GROUP, convert_route
from oidcgate.imports.report import Part
from oidcgate.policy import is_public
from tests.imports.support import GOOD, accepted, config, imported, told

CLOSED = GOOD.replace("--email-domain=*", "")


def test_everybody() -> None:
    """`*` lets in everyone whom the provider lets in."""
    access = config("").sites[0].access
    assert (access.groups, access.emails, access.email_domains, access.rules) == ((), (), (), ())


def test_domains() -> None:
    """Domains are taken over; `*.` and `.` before one mean those below."""
    access = config("--email-domain=A.com --email-domain=*.b.com,.c.com", base=CLOSED).sites[0].access
    assert access.email_domains == ("a.com", ".b.com", ".c.com")


def test_addresses_and_groups_are_both_needed() -> None:
    """Groups become the last rule, since lists side by side would let in whoever is on one of them."""
    flags = "--email-domain=a.com --allowed-group=ops,dev --skip-auth-route=^/static/"
    result = imported(flags, base=CLOSED)
    access = accepted(result).sites[0].access
    assert (access.email_domains, access.groups) == (("a.com",), ())
    assert [(rule.path, rule.groups, rule.public) for rule in access.rules] == [
        ("/static/*", (), True),
        ("/*", ("ops", "dev"), False),
    ]
    assert told(result, Part.DIFFERS, "--allowed-group")
    assert not told(result, Part.TAKEN, "--allowed-group")


def test_groups_alone() -> None:
    """Groups without addresses are a list."""
    assert config("--allowed-group=ops").sites[0].access.groups == ("ops",)


def test_file_of_addresses() -> None:
    """Addresses in a file are listed; its other columns and comments are not."""
    files = {"/emails": "# people\nAda@a.com,x\n\nbob@a.com\n"}
    found = config("--authenticated-emails-file=/emails", base=CLOSED, files=files)
    assert found.sites[0].access.emails == ("ada@a.com", "bob@a.com")


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        pytest.param("--authenticated-emails-file=/gone", "emails", NOBODY_EMAIL, id="file-that-is-not-there"),
        pytest.param("--authenticated-emails-file=${X}", "emails", NOBODY_EMAIL, id="unknown-file"),
        pytest.param("--email-domain=${X}", "emails", NOBODY_EMAIL, id="unknown-domains"),
        pytest.param("--email-domain=* --allowed-group=${X}", "groups", NOBODY_GROUP, id="unknown-groups"),
        pytest.param("--email-domain=* --allowed-role=admin", "groups", NOBODY_GROUP, id="roles"),
        pytest.param("--email-domain=* --github-repo=a/b", "groups", NOBODY_GROUP, id="repository"),
        pytest.param("--email-domain=* --github-org=${X}", "groups", NOBODY_GROUP, id="unknown-organisation"),
    ],
)
def test_what_cannot_be_said_lets_nobody_in(flags: str, key: str, value: str) -> None:
    """Where a restriction is lost, nobody passes until a person has seen to it."""
    result = imported(flags, base=CLOSED)
    assert getattr(accepted(result).sites[0].access, key) == (value,)
    assert "until then nobody does" in result.text


def test_no_addresses_at_all() -> None:
    """oauth2-proxy does not start without; here it means everyone, which is told."""
    result = imported("", base=CLOSED)
    assert any("no --email-domain is given" in line for line in result.report.lines(Part.DIFFERS))


@pytest.mark.parametrize(
    ("flags", "groups"),
    [
        ("--github-org=acme", ("acme",)),
        ("--github-org=acme --github-team=a,b", ("acme:a", "acme:b")),
        ("--github-team=a", ("a",)),
        ("--keycloak-group=/a", ("/a",)),
        ("--gitlab-group=x/y", ("x/y",)),
        ("--google-group=g@a.com", ("g@a.com",)),
    ],
)
def test_groups_of_other_providers(flags: str, groups: tuple[str, ...]) -> None:
    """Groups keep people out under the names that Dex's connectors give them."""
    assert config(flags).sites[0].access.groups == groups


@pytest.mark.parametrize(
    ("route", "rules"),
    [
        pytest.param("^/a$", [{"path": "/a"}], id="exact"),
        pytest.param("^/a/", [{"path": "/a/*"}], id="prefix"),
        pytest.param("^/a", [{"path": "/a*"}], id="prefix-without-slash"),
        pytest.param("^/a/.*$", [{"path": "/a/*"}], id="rest"),
        pytest.param("^/a/.*", [{"path": "/a/*"}], id="open-rest"),
        pytest.param("^/a(/.*)?$", [{"path": "/a"}, {"path": "/a/*"}], id="folder"),
        pytest.param(r"^/robots\.txt$", [{"path": "/robots.txt"}], id="escaped"),
        pytest.param("^/robots.txt$", [{"path": "/robots.txt"}], id="any-character-is-narrowed-to-the-dot"),
        pytest.param("get=^/a$", [{"path": "/a", "methods": ["GET"]}], id="method"),
        pytest.param("^/", [{"path": "/*"}], id="everything"),
    ],
)
def test_routes(route: str, rules: list[dict[str, Any]]) -> None:
    """Simple anchored expressions become rules."""
    assert convert_route(route, with_method=True) == [{**rule, "public": True} for rule in rules]


@pytest.mark.parametrize(
    "route",
    [
        "/a",
        "a",
        "GET!=^/a",
        "!=^/a",
        "^/a|^/b",
        "^/[ab]$",
        "^/a?$",
        "^/a+",
        "^/(a|b)",
        r"^/\d+$",
        "^/a.*b",
        "PURGE=^/a",
        r"^/\*$",
        "(?i)^/a",
        "^/a%2f",
    ],
)
def test_routes_that_stay_closed(route: str) -> None:
    """What is neither exact nor a prefix stays closed, with a reason."""
    assert isinstance(convert_route(route, with_method=True), str)
    result = imported(f"--skip-auth-route='{route}'")
    assert accepted(result).sites[0].access.rules == ()
    assert told(result, Part.NONE, "--skip-auth-route")


def test_expressions_without_a_method() -> None:
    """The older flag has no method; preflights are a rule for their method."""
    rules = config("--skip-auth-regex=^/a=b$ --skip-auth-preflight").sites[0].access.rules
    assert [(rule.path, rule.methods) for rule in rules] == [("/*", ("OPTIONS",)), ("/a=b", ())]
    assert is_public(rules, "ui.example.com", "OPTIONS", "/x")
