"""
Who may pass, and what is public.

Pure. Rule of this file: what kept people out and cannot be said with us lets nobody in, until a person has seen to it.
"""

import csv
import re
from collections.abc import Callable
from typing import Any

from oidcgate.imports.flags import FLAGS
from oidcgate.imports.work import Work

NOBODY_GROUP = "FILL-IN-a-group"
NOBODY_EMAIL = "fill-in@example.invalid"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
GROUP_FLAGS = ("allowed-group", "keycloak-group", "gitlab-group", "google-group")
LITERAL = re.compile(r"(?:[A-Za-z0-9_~!&'/,=:@-]|\.(?=[A-Za-z0-9_])|\\[^A-Za-z0-9\s])*")
TAILS = {
    "$": ("{}",),
    "": ("{}*",),
    ".*": ("{}*",),
    ".*$": ("{}*",),
    "(/.*)?$": ("{}", "{}/*"),
    "(/|$)": ("{}", "{}/*"),
    "($|/)": ("{}", "{}/*"),
}
Reader = Callable[[str], str | None]


def map_access(work: Work, read_file: Reader) -> None:
    """
    ``access`` of the first site.

    Args:
        read_file: the text of a file that the configuration names; None when it cannot be read.
    """
    people = _emails(work, read_file)
    groups = _groups(work)
    rules = [*_preflight(work), *_public(work)]
    if people and groups:
        rules.append({"path": "/*", "groups": groups})
        text = (
            "both the address and the group are needed: the groups are a rule for every path, since lists side by side "
        )
        work.differs("allowed-group", text + "open the way each by itself")
        work.draft.put(
            "sites.0.access", people, comment="addresses first, then groups as the last rule: both are needed"
        )
    elif people or groups:
        work.taken("allowed-group")
        work.draft.put("sites.0.access", people or {"groups": groups})
    if rules:
        work.draft.put("sites.0.access.rules", rules, comment="the first that matches decides")
    if NOBODY_EMAIL in people.get("emails", []):
        work.draft.say("sites.0.access", fill_in="the addresses of those who may pass; until then nobody does")
    if NOBODY_GROUP in groups:
        work.draft.say("sites.0.access", fill_in="the groups of those who may pass; until then nobody does")
    if not people and not groups:
        work.draft.put(
            "sites.0.access.groups", [], comment="empty: everyone the provider lets in; RBAC decides the rest"
        )


def _emails(work: Work, read_file: Reader) -> dict[str, Any]:
    """Lists of addresses; empty when everybody's is good."""
    domains = list(work.settings.values("email-domain"))
    emails = _listed_emails(work, read_file)
    if "*" in domains:
        work.taken("email-domain", "everyone the provider lets in")
        return {}
    work.taken("email-domain", "sites[].access.email_domains; only verified addresses count")
    found: dict[str, Any] = {}
    if emails:
        found["emails"] = emails
    if domains:
        found["email_domains"] = [domain.lower().removeprefix("*") for domain in domains]
    given = work.known("email-domain")
    if not found and (given is None and work.settings.get("email-domain")):
        return {"emails": [NOBODY_EMAIL]}
    if not found:
        work.report_differs("no --email-domain is given, without which oauth2-proxy does not start; see sites[].access")
    return found


def _listed_emails(work: Work, read_file: Reader) -> list[str]:
    given = work.settings.get("authenticated-emails-file")
    if given is None:
        return []
    text = read_file(given.text) if given.text else None
    rows = csv.reader(line for line in (text or "").splitlines() if not line.lstrip().startswith("#"))
    emails = list(dict.fromkeys(row[0].strip().lower() for row in rows if row and row[0].strip()))
    if not emails:
        work.differs(
            "authenticated-emails-file", "cannot be read from here; list its addresses in sites[].access.emails"
        )
        return [NOBODY_EMAIL]
    told = f"sites[].access.emails: its {len(emails)} addresses; the file itself is not read again"
    work.taken("authenticated-emails-file", told)
    return emails


def _groups(work: Work) -> list[str]:
    found = [group for name in GROUP_FLAGS for group in work.settings.values(name)]
    for name in GROUP_FLAGS[1:]:
        work.differs(name, "sites[].access.groups, as the ID token's groups claim names them, which may be otherwise")
    found += _github(work)
    shut = [name for name, flag in FLAGS.items() if flag.restricts and work.settings.get(name)]
    unknown = [name for name in GROUP_FLAGS if (given := work.settings.get(name)) and not given.is_known]
    if shut or unknown:
        found = found if found and not unknown else [NOBODY_GROUP]
        for name in unknown:
            work.known(name)
    for name in shut:
        work.none(name, f"{FLAGS[name].what}; until then access.groups must keep people out")
    return list(dict.fromkeys(found))


def _github(work: Work) -> list[str]:
    """Groups as Dex's connector names them: the organisation, or organisation:team."""
    organisation, teams = work.settings.text("github-org"), work.settings.text("github-team")
    for name in ("github-org", "github-team"):
        work.differs(name, "sites[].access.groups, as Dex's github connector names them: org or org:team")
    if not organisation and not teams:
        return [NOBODY_GROUP] if work.settings.get("github-org") or work.settings.get("github-team") else []
    return [f"{organisation}:{team.strip()}".strip(":") for team in teams.split(",")] if teams else [organisation]


def _preflight(work: Work) -> list[dict[str, Any]]:
    if not work.settings.is_on("skip-auth-preflight"):
        work.known("skip-auth-preflight")
        return []
    work.taken("skip-auth-preflight", "sites[].access.rules: OPTIONS is public on every path")
    return [{"path": "/*", "methods": ["OPTIONS"], "public": True}]


def _public(work: Work) -> list[dict[str, Any]]:
    rules = []
    for name in ("skip-auth-regex", "skip-auth-route"):
        work.known(name)
        for route in work.settings.values(name):
            converted = convert_route(route, with_method=name == "skip-auth-route")
            if isinstance(converted, str):
                work.none(name, f"{route} stays closed: {converted}")
            else:
                work.taken(name, f"{route} is public: {', '.join(rule['path'] for rule in converted)}")
                rules += converted
    return rules


def convert_route(route: str, *, with_method: bool) -> list[dict[str, Any]] | str:
    """Rules that match what the expression does, or why there are none."""
    method, equals, expression = route.partition("=") if with_method else ("", "", route)
    if equals and method.endswith("!"):
        return "everything but a path cannot be said; list what is public"
    if with_method and not equals:
        method, expression = "", route
    if method and method.upper() not in METHODS:
        return f"no rule can be for the method {method}"
    paths = _paths(expression)
    if isinstance(paths, str):
        return paths
    methods = {"methods": [method.upper()]} if method else {}
    return [{"path": path, **methods, "public": True} for path in paths]


def _paths(expression: str) -> list[str] | str:
    if not expression.startswith("^/"):
        return "it is not anchored by ^/, so it matches in the middle of a path too; rules are exact or a prefix"
    literal = LITERAL.match(expression, 1)
    assert literal is not None  # the empty text matches
    tail = expression[literal.end() :]
    if tail not in TAILS:
        return "rules are exact or a prefix, no regular expressions"
    path = re.sub(r"\\(.)", r"\1", literal[0])
    if "*" in path or not re.fullmatch(r"/[!-~]*", path):
        return "its path has characters that a rule cannot have"
    return [text.format("\0").replace("\0", path) for text in TAILS[tail]]
