"""
What the gate would do with a request, and why, without sending one.

Pure but for what it holds. Rules of this file:
- The verdict is the gate's own: a header block as a browser would send it goes through the gate's own stops.
- What is said of lists and rules comes from the very functions that decide by them.
- No secret is read, and the token is a stand-in.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, assert_never, cast
from urllib.parse import urlsplit

from aiohttp import web

from oidcgate.config.model import Access, Config, Rule
from oidcgate.config.units import show_duration
from oidcgate.errors import ConfigError, InvalidIdToken, OidcgateError, Problem, RequestError
from oidcgate.net.downstream import Downstream
from oidcgate.oidc.claims import Expected, check_claims
from oidcgate.policy import AMBIGUOUS, Allow, Forbidden, Login, Unauthorized, admits, deciding, readings, refused_by
from oidcgate.proxy.dialects import dialect_of
from oidcgate.proxy.forwarded import parse_networks
from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.proxy.rewrite import framing_line
from oidcgate.proxy.websocket import read_handshake
from oidcgate.session.cookies import set_cookie
from oidcgate.web import answers, texts
from oidcgate.web.cluster import permission_of
from oidcgate.web.destinations import Destinations
from oidcgate.web.explanation import (
    Explanation,
    Fact,
    Verdict,
    content_of,
    lines_of,
    listed,
    person_fact,
    refused,
    request_fact,
)
from oidcgate.web.facts import FactsTable, Inbound
from oidcgate.web.forward_auth import ForwardAuth
from oidcgate.web.gate import Gate
from oidcgate.web.live import Live
from oidcgate.web.login import LoginPages, LoginParts
from oidcgate.web.logs import AccessLog, RequestNumbers
from oidcgate.web.programs import bearer_life
from oidcgate.web.providers import Providers
from oidcgate.web.question import BROWSER, HANDLE, Asked, Connected, Person, Question, header_block, read_url
from oidcgate.web.site import SiteRuntime, make_site, make_table

LIFE = 3600  # seconds that the stand-in of a token claims to live
LISTS = ("groups", "emails", "email_domains")


class NoSite(OidcgateError):
    """No site of the configuration has that host."""

    def __init__(self, authority: str, names: Sequence[str]) -> None:
        super().__init__(f"no site has the host {authority}; there are: {', '.join(names)}")


def explain(config: Config, question: Question) -> Explanation:
    """
    What the gate of a configuration would do.

    Raises:
        ConfigError: the question makes no sense.
        NoSite: it is about another host.
    """
    return Explainer(config).explain(question)


class Explainer:
    """A gate that is never started, and what it says of requests."""

    def __init__(self, config: Config) -> None:
        self._config = config = _without_files(config)
        nobody: Any = None  # sessions, stores and the like: nothing here asks them
        providers = Providers(config)
        self._table = make_table(config, [make_site(config, site, providers) for site in config.sites])
        facts = FactsTable(self._table, trusted=parse_networks(config.trusted_proxies), head_limit=config.limits.head)
        log = AccessLog(run="explain", form=config.log.format, descriptor=None)
        prefix = self._prefix = config.prefix
        self._gate = Gate(facts, nobody, log, RequestNumbers(), prefix=prefix, body_limit=config.limits.body)
        self._forward_auth = ForwardAuth(
            self._gate,
            self._table,
            peers=parse_networks(config.forward_auth.peers),
            headers=config.forward_auth.headers,
            prefix=prefix,
        )
        destinations = Destinations(self._table, return_hosts=config.forward_auth.return_hosts, prefix=prefix)
        self._login = LoginPages(LoginParts(nobody, nobody, providers, nobody, nobody, destinations, prefix))

    def explain(self, question: Question) -> Explanation:
        """As the function of that name."""
        authority, target = read_url(question.url)
        site = self._table.get(authority)
        if site is None:
            raise NoSite(authority, self._table.names)
        live = None if question.person is None else self._life(site, question.person)
        how = ""
        why: list[Fact] = []
        sent: list[Fact] = []
        try:
            inbound = self._inbound(site, target, live, question)
        except RequestError as error:
            verdict = refused(error)
        else:
            how = inbound.facts.how.value
            verdict = self._verdict(inbound)
            if not self._is_own(inbound.path):
                why = [self._access(inbound, live, verdict), *self._rules(inbound, live)]
                sent = [*self._sent(inbound, verdict)]
        told = {"outcome": verdict.outcome, "status": verdict.status, "text": verdict.text}
        return Explanation(
            verdict.passes,
            (
                self._site(site),
                request_fact(site, target, question, how),
                person_fact(live),
                *why,
                Fact("verdict", verdict.text, told),
                *sent,
                self._cookie(site),
                self._logins(site),
            ),
        )

    # The request, as a browser would send it.

    def _life(self, site: SiteRuntime, person: Person) -> Live:
        """A session whose token says what is known of a person."""
        now = time.time()
        issuer, client_id = site.client
        audience = site.audience or client_id
        payload = {
            "iss": issuer,
            "sub": person.subject or "<subject>",
            "aud": audience,
            "iat": now,
            "exp": now + LIFE,
            "email": person.email,
            "email_verified": True,
            "groups": list(person.groups),
        }
        expected = Expected(issuer, audience, frozenset(), (), 0.0, LIFE, None)
        try:
            claims = check_claims(payload, expected, now=now)
        except InvalidIdToken as error:
            raise ConfigError([Problem("--subject", str(error))]) from None
        raw = f"<ID token for {audience}>".encode("ascii", "replace").decode()
        live = bearer_life(raw, claims, b"explain", site, now=now)
        live.handle = HANDLE.encode()  # it came by a cookie
        return live

    def _inbound(self, site: SiteRuntime, target: str, live: Live | None, question: Question) -> Inbound:
        """The request with its facts, after the checks that come before any decision."""
        raw = header_block(site, question)
        request = cast(web.BaseRequest, Asked(question.method, target, raw))
        facts = self._gate.facts.read(request)
        path = target.partition("?")[0]
        readings(path)
        downstream = cast(Downstream, Connected(BROWSER))
        return Inbound(request, downstream, facts, question.method, target, path, 0, time.time(), live)

    # The verdict.

    def _is_asked(self, site: SiteRuntime) -> bool:
        """Whether another proxy carries the site's requests and asks about them."""
        return not site.carries and bool(self._config.forward_auth.peers)

    def _is_own(self, path: str) -> bool:
        return self._gate.is_own(path) or path.startswith(f"{self._prefix}/auth")

    def _verdict(self, inbound: Inbound) -> Verdict:
        if self._is_own(inbound.path):
            if inbound.path.startswith(f"{self._prefix}/auth") and dialect_of(inbound.path, self._prefix) is None:
                return refused(RequestError(texts.NO_DIALECT, status=404))
            return Verdict("own", None, "answered by the gate itself: the path is one of its own")
        match decision := self._gate.decide(inbound):
            case Allow():
                return self._allowed(inbound)
            case Login():
                return Verdict("login", 302, f"302 to {self._sign_in_url(inbound)}")
            case Unauthorized():
                return self._unauthorized(inbound)
            case Forbidden():
                text = f"403: {answers.sentence_of(decision)}{self._refusing(inbound, decision)}"
                return Verdict("forbidden", 403, text)
            case _:
                assert_never(decision)

    def _sign_in_url(self, inbound: Inbound) -> str:
        if self._is_asked(inbound.facts.site):
            return self._forward_auth.sign_in_url(inbound)
        return answers.to_login(inbound, self._prefix).headers["Location"]

    def _unauthorized(self, inbound: Inbound) -> Verdict:
        """The preset's own words; to a proxy that asks, 200 would mean yes."""
        site = inbound.facts.site
        response = answers.unauthorized(inbound, canned=not self._is_asked(site))
        body = response.body.decode() if isinstance(response.body, bytes) else ""
        text = f"{response.status} in the words that {site.preset.name} understands: {body}"
        return Verdict("unauthorized", response.status, text)

    def _refusing(self, inbound: Inbound, decision: Forbidden) -> str:
        """Which rule a refusal is due to."""
        site, live = inbound.facts.site, inbound.live
        if decision.reason != answers.RULE or live is None:
            return ""
        rules = site.config.access.rules
        rule = refused_by(rules, site.authority, inbound.method, inbound.path, live.claims)
        return "" if rule is None else f" (by {self._rule_path(site, rule)})"

    def _allowed(self, inbound: Inbound) -> Verdict:
        site, facts = inbound.facts.site, inbound.facts
        if self._is_asked(site):
            return Verdict("allow", None, "allowed: passed by the proxy that asks")
        if not site.carries:
            response = answers.elsewhere(inbound, self._prefix, "-")
            if response.status == 421:
                return refused(RequestError(texts.ELSEWHERE[1], status=421))
            return Verdict("own", response.status, f"{response.status} to {response.headers['Location']}")
        if facts.head.upgrade == b"websocket":
            try:
                read_handshake(inbound.request.raw_headers, facts.head, method=inbound.method, version=(1, 1))
            except RequestError as error:
                return refused(error)
        text = f"passed to {' or '.join(site.config.upstream.urls)}"
        if site.preset.may_ignore_bearer and any(not pool.address.secure for pool in site.pools.pools):
            text += ", once it has shown that it heeds the token; else 503"
        return Verdict("allow", None, text)

    # What is told.

    def _site_path(self, site: SiteRuntime) -> str:
        return f"sites[{self._config.sites.index(site.config)}]"

    def _site(self, site: SiteRuntime) -> Fact:
        path, url = self._site_path(site), site.config.url
        below = f": every host below {site.config.origin.authority}" if site.config.is_wildcard else ""
        return Fact("site", f"{path} {url}{below}", {"path": path, "url": url, "host": site.authority})

    def _access(self, inbound: Inbound, live: Live | None, verdict: Verdict) -> Fact:
        """Which of the site's lists admits the person."""
        site = inbound.facts.site
        access, is_public = site.config.access, verdict.outcome == "allow" and inbound.live is None
        lists = {name: list(getattr(access, name)) for name in LISTS if getattr(access, name)}
        by = [name for name in lists if live is not None and admits(_only(access, name), live.claims)]
        admitted = None if live is None or is_public else admits(access, live.claims)
        named = ", ".join(f"{name}: {listed(values)}" for name, values in lists.items())
        if is_public:
            text = "not asked: the rule is public"
        elif not lists:
            text = "everyone the provider lets in"
        elif live is None:
            text = f"one of {named}"
        elif admitted:
            text = f"admitted by {', '.join(f'{name}: {listed(lists[name])}' for name in by)}"
        else:
            text = f"not admitted by {named}"
        value: dict[str, Any] = {"path": f"{self._site_path(site)}.access", "admitted": admitted, "by": by, **lists}
        if access.may is not None and not is_public:
            needed = f"and who may {permission_of(access.may)} in the cluster"
            text += f"\n{needed}: its API server is asked of each person, but not from here"
            value["may"] = access.may.model_dump(mode="json", exclude_defaults=True)
        return Fact("access", text, value)

    def _rule_path(self, site: SiteRuntime, rule: Rule) -> str:
        return f"{self._site_path(site)}.access.rules[{site.config.access.rules.index(rule)}]"

    def _rules(self, inbound: Inbound, live: Live | None) -> Iterator[Fact]:
        """The rule that decides, and those that decide for other readings of the path."""
        site, rules = inbound.facts.site, inbound.facts.site.config.access.rules
        host, method = site.authority, inbound.method
        rule = deciding(rules, host, method, inbound.path)
        ambiguous = " (but not for an address that can be read in several ways)"
        note = ambiguous if rule is not None and rule.public and AMBIGUOUS.search(inbound.path) else ""
        yield Fact("rule", self._said(site, rule, live) + note, self._as_object(site, rule, live))
        found = [(reading, deciding(rules, host, method, reading)) for reading in readings(inbound.path)[1:]]
        others = [(reading, other) for reading, other in found if other is not rule]
        if others:
            text = "\n".join(f"{reading}: {self._said(site, other, live)}" for reading, other in others)
            value = [{"path": reading, "rule": self._as_object(site, other, live)} for reading, other in others]
            yield Fact("readings", text, value)

    def _said(self, site: SiteRuntime, rule: Rule | None, live: Live | None) -> str:
        if rule is None:
            return "no rule matches" if site.restricts else "there are no rules"
        content = ", ".join(f"{key}: {listed(value)}" for key, value in content_of(rule).items())
        if live is None or not rule.names_people:
            return f"{self._rule_path(site, rule)} {content}"
        return f"{self._rule_path(site, rule)} {content} ({'admits' if admits(rule, live.claims) else 'refuses'})"

    def _as_object(self, site: SiteRuntime, rule: Rule | None, live: Live | None) -> dict[str, Any] | None:
        if rule is None:
            return None
        admitted = None if live is None else admits(rule, live.claims)
        return {"at": self._rule_path(site, rule), **content_of(rule), "admits": admitted}

    def _sent(self, inbound: Inbound, verdict: Verdict) -> Iterator[Fact]:
        """What goes to the UI of our own, and what of the client's does not."""
        site = inbound.facts.site
        lines: list[str] = []
        if verdict.outcome == "allow":
            lines = self._told(inbound) if self._is_asked(site) else self._written(inbound)
        yield Fact("headers", "\n".join(lines) or "nothing is sent", lines)
        if self._is_asked(site):
            removed = ["nothing by the gate; the proxy that asks puts these headers over the client's own"]
        else:
            cookies = (site.names.session + b"*", *site.own_cookies, *site.kept_cookies)
            headers = [*sorted(IDENTITY), *(f"{begin}*" for begin in PREFIXES), *sorted(FORWARDING)]
            removed = [
                f"cookies {', '.join(name.decode() for name in cookies)}",
                f"headers {', '.join(name.title() for name in headers)}",
            ]
        yield Fact("removed", "\n".join(removed), removed)

    def _told(self, inbound: Inbound) -> list[str]:
        return lines_of(self._forward_auth.lines_for(inbound.live))

    def _written(self, inbound: Inbound) -> list[str]:
        """The head that the gate writes, less what is the client's."""
        pool = inbound.facts.pool
        assert pool is not None
        framing = framing_line(inbound.facts.head, inbound.method)
        head = self._gate._outbound(inbound, pool, framing, None).head
        theirs = set(lines_of(inbound.facts.block))
        return [line for line in lines_of(head)[1:] if line and line not in theirs]

    def _cookie(self, site: SiteRuntime) -> Fact:
        names, limits = site.names, self._config.session
        name = names.session.decode()
        line = set_cookie(names.session, "<handle>", secure=site.secure, domain=names.domain)
        host = urlsplit(site.origin).hostname or ""
        reaches = f"{host} alone" if names.domain is None else f"{names.domain} and every host below it"
        idle, lifetime = show_duration(limits.idle), show_duration(limits.lifetime)
        lasts = f"ends after {idle} without a request, {lifetime} at the latest"
        value = {"name": name, "set": line, "reaches": reaches, "idle": idle, "lifetime": lifetime}
        return Fact("cookie", f"{line}\nreaches {reaches}; {lasts}; never the UI", value)

    def _logins(self, site: SiteRuntime) -> Fact:
        issuer, client_id = site.client
        uri = self._login.redirect_uri(self._table.roots[site.provider_id])
        shared = site.names.domain is not None or site.origin == self._table.login.origin
        onward = "" if shared else f"; from there handed to {site.origin}"
        text = f"{uri} (in {issuer}, among the redirectURIs of {client_id}){onward}"
        return Fact("login", text, {"redirect_uri": uri, "issuer": issuer, "client_id": client_id})


def _without_files(config: Config) -> Config:
    """The same configuration for a machine that need not have its CA bundles: nothing here is connected to."""
    nothing = {"ca_file": None}
    sites = tuple(
        site.model_copy(
            update={
                "upstream": site.upstream.model_copy(update=nothing),
                "provider": site.provider.model_copy(update=nothing),
            }
        )
        for site in config.sites
    )
    return config.model_copy(update={"provider": config.provider.model_copy(update=nothing), "sites": sites})


def _only(access: Access, name: str) -> Access:
    return Access.model_validate({name: getattr(access, name)})
