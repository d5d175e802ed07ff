"""
``/access``: who the cluster thinks somebody is, what they may do there, and what to ask an administrator for.

Edge: aiohttp responses, and what ``Clusters`` asks. Rules of this file:
- Names are the API server's own, prefixes included, wherever it tells them.
- The page is for everybody who is signed in, above all for those who may not open the site; it changes nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl

from aiohttp import web

from oidcgate.kube.bindings import ROLES, Subject, binding, grant
from oidcgate.kube.client import ClusterUnreachable
from oidcgate.kube.reviews import Person, Rule, Rules
from oidcgate.oidc.claims import Claims
from oidcgate.web import texts
from oidcgate.web.cluster import Clusters, permission_of
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.misfit import findings_of
from oidcgate.web.pages import Action, Page, facts_list, preformatted, redirect
from oidcgate.web.site import SiteRuntime

NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123 §2.1, as Kubernetes has it
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the page's small form was filled in with."""

    namespace: str
    role: str
    subject: Subject


def chosen(target: str, person: Person) -> Choice:
    """The form's fields out of a target; what is not on offer becomes what comes first."""
    fields = dict(parse_qsl(target.partition("?")[2]))
    namespace, role, wanted = (fields.get(name, "") for name in ("namespace", "role", "subject"))
    subjects = subjects_of(person)
    return Choice(
        namespace if NAMESPACE.fullmatch(namespace) else DEFAULT_NAMESPACE,
        role if role in ROLES else ROLES[0],
        next((subject for subject in subjects if str(subject) == wanted), subjects[0]),
    )


def subjects_of(person: Person) -> list[Subject]:
    """Whom a binding can be for: groups first, since they outlive people."""
    return [*(Subject("Group", group) for group in person.own_groups), Subject("User", person.username)]


def expected_person(claims: Claims, site: SiteRuntime) -> Person:
    """Somebody as the API server is configured to see them, where it does not tell."""
    kubernetes = site.config.kubernetes
    before = ("", "") if kubernetes is None else (kubernetes.username_prefix, kubernetes.groups_prefix)
    return Person(before[0] + (claims.email or claims.subject), tuple(before[1] + group for group in claims.groups))


class AccessPage:
    """Shows what somebody may do in a site's cluster."""

    def __init__(self, clusters: Clusters, *, prefix: str) -> None:
        self._clusters = clusters
        self._prefix = prefix

    async def show(self, inbound: Inbound) -> web.Response:
        """GET: the page."""
        live, site = inbound.live, inbound.facts.site
        if live is None:
            return redirect(f"{site.origin}{self._prefix}/start?rd={self._prefix}%2Faccess")
        if not self._clusters.knows(live, site):
            body = self._without_cluster(live, site)
        else:
            body = await self._with_cluster(inbound, live)
        actions = (
            Action(texts.OPEN, "/"),
            Action(texts.SESSION_PAGE[0], f"{self._prefix}/session", quiet=True),
            Action(texts.SIGN_OUT, f"{self._prefix}/sign_out", quiet=True),
        )
        return Page(*texts.ACCESS, body=body, actions=actions, wide=True).response()

    def _without_cluster(self, live: Live, site: SiteRuntime) -> str:
        text = texts.NO_CLUSTER_KNOWN if site.config.kubernetes is None else texts.NOTHING_SENT
        return f"<p>{escape(text)}</p>{_of_token(live.claims)}"

    async def _with_cluster(self, inbound: Inbound, live: Live) -> str:
        site = inbound.facts.site
        who = await self._clusters.who(live, site)
        if who.person is None or who.is_refused:
            person, said = expected_person(live.claims, site), texts.NOT_SEEN_BY_CLUSTER
            known = _of_token(live.claims)
        else:
            person, said = who.person, texts.SEEN_BY_CLUSTER
            known = facts_list(
                [(texts.USER, person.username), (texts.GROUPS, ", ".join(person.groups)), (texts.UID, person.uid)]
            )
        choice = chosen(inbound.target, person)
        parts = [f"<p>{escape(said)}</p>{known}", findings_of(who.findings)]
        parts.append(await self._needed(live, site, choice.subject))
        parts.append(self._form(choice, person))
        if not who.is_refused:
            parts.append(await self._rights(live, site, choice.namespace))
        parts.append(_to_ask_for(choice))
        return "".join(parts)

    async def _needed(self, live: Live, site: SiteRuntime, subject: Subject) -> str:
        """The permission that the site asks for, and what gives it to those who lack it."""
        may = site.config.access.may
        if may is None:
            return ""
        permission = permission_of(may)
        try:
            has_it = await self._clusters.permit(live, site)
        except ClusterUnreachable:
            said, yaml = texts.NEEDED_AND_UNKNOWN, ""
        else:
            said = texts.NEEDED_AND_THERE if has_it else texts.NEEDED_AND_MISSING
            yaml = "" if has_it else preformatted(grant(subject, permission), texts.NEEDED_HERE)
        return f"<h2>{escape(texts.NEEDED_HERE)}</h2><p>{escape(said.format(permission))}</p>{yaml}"

    def _form(self, choice: Choice, person: Person) -> str:
        roles = _options(ROLES, choice.role)
        subjects = _options([str(subject) for subject in subjects_of(person)], str(choice.subject))
        return (
            f"<h2>{escape(texts.RIGHTS_IN.format(choice.namespace))}</h2>"
            f'<form class="fields" method="get" action="{escape(self._prefix)}/access">'
            f"<label>{escape(texts.NAMESPACE)}"
            f'<input name="namespace" value="{escape(choice.namespace)}" maxlength="63" spellcheck="false" '
            'autocapitalize="none" autocomplete="off"></label>'
            f'<label>{escape(texts.ROLE)}<select name="role">{roles}</select></label>'
            f'<label>{escape(texts.FOR_WHOM)}<select name="subject">{subjects}</select></label>'
            f'<button class="button quiet" type="submit">{escape(texts.SHOW)}</button></form>'
        )

    async def _rights(self, live: Live, site: SiteRuntime, namespace: str) -> str:
        try:
            rules = await self._clusters.rules(live, site, namespace)
        except ClusterUnreachable:
            return f"<p>{escape(texts.RIGHTS_UNKNOWN)}</p>"
        return rights_of(rules)


def rights_of(rules: Rules) -> str:
    """A list of what somebody may do."""
    rows = [_right(rule) for rule in (*rules.resources, *rules.addresses)]
    listed = f'<ul class="list">{"".join(rows)}</ul>' if rows else f"<p>{escape(texts.NO_RIGHTS)}</p>"
    if rules.incomplete or rules.error:
        listed += f"<p>{escape(texts.RIGHTS_INCOMPLETE.format(rules.error or texts.NOT_ALL_LISTED))}</p>"
    return listed


def _right(rule: Rule) -> str:
    what = ", ".join(rule.resources or rule.addresses)
    groups = ", ".join(group for group in rule.groups if group)
    details = [
        texts.OF_GROUPS.format(groups) if groups else "",
        texts.NAMED.format(", ".join(rule.names)) if rule.names else "",
    ]
    return (
        f"<li><div><strong>{escape(', '.join(rule.verbs))}</strong>"
        f"<span>{escape(' '.join([what, *filter(None, details)]))}</span></div></li>"
    )


def _to_ask_for(choice: Choice) -> str:
    inside = texts.TO_ASK_IN_NAMESPACE.format(choice.namespace)
    return (
        f"<h2>{escape(texts.TO_ASK_FOR)}</h2>"
        f"<p>{escape(inside)}</p>{preformatted(binding(choice.subject, choice.role, choice.namespace), inside)}"
        f"<p>{escape(texts.TO_ASK_EVERYWHERE)}</p>"
        f"{preformatted(binding(choice.subject, choice.role, ''), texts.TO_ASK_EVERYWHERE)}"
    )


# Pieces.


def _of_token(claims: Claims) -> str:
    return facts_list(
        [
            (texts.SUBJECT, claims.subject),
            (texts.EMAIL, claims.email or ""),
            (texts.GROUPS, ", ".join(claims.groups)),
            (texts.ISSUER, claims.issuer),
            (texts.AUDIENCE, ", ".join(claims.audience)),
        ]
    )


def _options(names: Sequence[str], selected: str) -> str:
    marks = ((name, " selected" if name == selected else "") for name in names)
    return "".join(f"<option{mark}>{escape(name)}</option>" for name, mark in marks)
