"""
What the gate would do with a request, and why, without sending one.

Pure but for what it holds. Rules of this file:
- The verdict is the gate's own: a header block as a browser would send it goes through the gate's own stops.
- What is said of lists and rules comes from the very functions that decide by them.
- No secret is read, and the token is a stand-in.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never, cast
from urllib.parse import quote, urlsplit

from aiohttp import HttpVersion11, web

from oidcgate.config.addresses import parse_origin
from oidcgate.config.model import Access, Config, Rule
from oidcgate.config.units import show_duration
from oidcgate.errors import ConfigError, InvalidIdToken, OidcgateError, Problem, RequestError
from oidcgate.inbound import RawHeaders
from oidcgate.net.downstream import Downstream
from oidcgate.oidc.claims import Claims, Expected, check_claims
from oidcgate.policy import AMBIGUOUS, Allow, Forbidden, Login, Unauthorized, admits, deciding, readings, refused_by
from oidcgate.proxy.dialects import dialect_of
from oidcgate.proxy.forwarded import parse_networks
from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.proxy.rewrite import framing_line
from oidcgate.proxy.websocket import read_handshake
from oidcgate.session.cookies import set_cookie
from oidcgate.session.session import HANDLE_LENGTH
from oidcgate.web import answers, texts
from oidcgate.web.destinations import Destinations
from oidcgate.web.facts import FactsTable, Inbound
from oidcgate.web.forward_auth import ForwardAuth
from oidcgate.web.gate import Gate
from oidcgate.web.live import Live
from oidcgate.web.login import LoginPages, LoginParts
from oidcgate.web.logs import AccessLog, RequestNumbers, printable
from oidcgate.web.programs import bearer_life
from oidcgate.web.providers import Providers
from oidcgate.web.site import SiteRuntime, make_site, make_table

Kind = Literal["page", "script", "websocket"]
HANDLE = "A" * HANDLE_LENGTH
BROWSER = "<the browser's address>"
LIFE = 3600  # seconds that the stand-in of a token claims to live
HTML = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FETCHED: dict[Kind, tuple[bytes, bytes, bytes]] = {  # Accept, Sec-Fetch-Mode, Sec-Fetch-Dest
    "page": (HTML, b"navigate", b"document"),
    "script": (b"*/*", b"cors", b"empty"),
    "websocket": (b"*/*", b"websocket", b"websocket"),
}
HANDSHAKE = (
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)
DOES = {"page": "a browser opens a page", "script": "a page's script asks", "websocket": "a page opens a websocket"}
LISTS = ("groups", "emails", "email_domains")
ADDRESS = "".join(map(chr, range(0x21, 0x7F)))  # what browsers leave as it is typed


class NoSite(OidcgateError):
    """No site of the configuration has that host."""

    def __init__(self, authority: str, names: Sequence[str]) -> None:
        super().__init__(f"no site has the host {authority}; there are: {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks; the address counts as verified."""

    email: str | None = None
    subject: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request to explain.

    Attributes:
        person: None = nobody is signed in.
        origin: whose page makes it; None = our own pages, or the person who types the address.
    """

    url: str
    method: str = "GET"
    person: Person | None = None
    kind: Kind = "page"
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: for people, with a line break where another of the kind follows, and for programs."""

    name: str
    text: str
    value: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the request; ``status`` is None when the UI gives it."""

    outcome: Literal["allow", "login", "own", "unauthorized", "forbidden", "refused"]
    status: int | None
    text: str

    @property
    def passes(self) -> bool:
        """Whether it goes on, if need be after a sign-in."""
        return self.outcome in ("allow", "login", "own")


@dataclass(frozen=True, slots=True)
class Explanation:
    """All facts, in their order."""

    passes: bool
    facts: tuple[Fact, ...]

    def to_text(self) -> str:
        """A table: a fact a line, what cannot be printed escaped."""
        wide = max(len(fact.name) for fact in self.facts)
        lines = []
        for fact in self.facts:
            first, *more = fact.text.split("\n")
            lines += [f"{fact.name:{wide}}  {printable(first)}", *(f"{'':{wide}}  {printable(line)}" for line in more)]
        return "\n".join(lines) + "\n"

    def to_object(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {fact.name: fact.value for fact in self.facts}


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
            verdict = _refused(error)
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
                _request(site, target, question, how),
                _person(live),
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
                return _refused(RequestError(texts.NO_DIALECT, status=404))
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
                return _refused(RequestError(texts.ELSEWHERE[1], status=421))
            return Verdict("own", response.status, f"{response.status} to {response.headers['Location']}")
        if facts.head.upgrade == b"websocket":
            try:
                read_handshake(inbound.request.raw_headers, facts.head, method=inbound.method, version=(1, 1))
            except RequestError as error:
                return _refused(error)
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
        named = ", ".join(f"{name}: {_listed(values)}" for name, values in lists.items())
        if is_public:
            text = "not asked: the rule is public"
        elif not lists:
            text = "everyone the provider lets in"
        elif live is None:
            text = f"one of {named}"
        elif admitted:
            text = f"admitted by {', '.join(f'{name}: {_listed(lists[name])}' for name in by)}"
        else:
            text = f"not admitted by {named}"
        return Fact(
            "access", text, {"path": f"{self._site_path(site)}.access", "admitted": admitted, "by": by, **lists}
        )

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
        content = ", ".join(f"{key}: {_listed(value)}" for key, value in _content(rule).items())
        if live is None or not rule.names_people:
            return f"{self._rule_path(site, rule)} {content}"
        return f"{self._rule_path(site, rule)} {content} ({'admits' if admits(rule, live.claims) else 'refuses'})"

    def _as_object(self, site: SiteRuntime, rule: Rule | None, live: Live | None) -> dict[str, Any] | None:
        if rule is None:
            return None
        admitted = None if live is None else admits(rule, live.claims)
        return {"at": self._rule_path(site, rule), **_content(rule), "admits": admitted}

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
        return _lines(self._forward_auth.lines_for(inbound.live))

    def _written(self, inbound: Inbound) -> list[str]:
        """The head that the gate writes, less what is the client's."""
        pool = inbound.facts.pool
        assert pool is not None
        framing = framing_line(inbound.facts.head, inbound.method)
        head = self._gate._outbound(inbound, pool, framing, None).head
        theirs = set(_lines(inbound.facts.block))
        return [line for line in _lines(head)[1:] if line and line not in theirs]

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


@dataclass(frozen=True, slots=True)
class Asked:
    """As much of a request as facts need."""

    method: str
    raw_path: str
    raw_headers: RawHeaders
    version: tuple[int, int] = HttpVersion11


@dataclass(frozen=True, slots=True)
class Connected:
    """As much of a connection as forwarding headers need."""

    address: str


def read_url(url: str) -> tuple[str, str]:
    """
    The Host and the target that a browser sends for an address.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(url)
        origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    except ValueError as error:
        raise ConfigError([Problem("--url", str(error))]) from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return origin.authority, quote(target, safe=ADDRESS)


def read_origin(text: str) -> str:
    """
    An origin as browsers send it; ``null`` is what a sandboxed page has.

    Raises:
        ConfigError: it is none.
    """
    try:
        return text if text == "null" else str(parse_origin(text.removesuffix("/")))
    except ValueError as error:
        raise ConfigError([Problem("--from", str(error))]) from None


def header_block(site: SiteRuntime, question: Question) -> RawHeaders:
    """
    What a browser sends; that two hosts may be of one site changes nothing here, and is left out.

    The cookie comes along whoever asks, since the gate must not rely on SameSite.
    """
    accept, mode, dest = FETCHED[question.kind]
    is_foreign = question.origin not in (None, site.origin)
    changes = question.method not in ("GET", "HEAD")
    typed = question.kind == "page" and question.origin is None and not changes
    where = b"cross-site" if is_foreign else b"none" if typed else b"same-origin"
    block = [
        (b"Host", site.authority.encode()),
        (b"Accept", accept),
        (b"Sec-Fetch-Site", where),
        (b"Sec-Fetch-Mode", mode),
        (b"Sec-Fetch-Dest", dest),
    ]
    if changes or question.kind == "websocket" or (question.kind == "script" and is_foreign):
        block.append((b"Origin", (question.origin or site.origin).encode()))
    if question.kind == "websocket":
        block += HANDSHAKE
    if question.person is not None:
        block.append((b"Cookie", site.names.session + b"=" + HANDLE.encode()))
    return tuple(block)


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


def _refused(error: RequestError) -> Verdict:
    return Verdict("refused", error.status, f"{error.status} refused: {error.public}")


def _request(site: SiteRuntime, target: str, question: Question, how: str) -> Fact:
    seen = f" ({how})" if how else ""
    by = f", from {question.origin}" if question.origin else ""
    text = f"{question.method} {site.origin}{target}: {DOES[question.kind]}{by}{seen}"
    value = {"method": question.method, "url": site.origin + target, "kind": question.kind}
    return Fact("request", text, {**value, "origin": question.origin, "crossing": how or None})


def _person(live: Live | None) -> Fact:
    if live is None:
        return Fact("person", "nobody is signed in", None)
    claims: Claims = live.claims
    address = claims.email or f"{claims.subject}, without a usable address"
    value = {"email": claims.email, "subject": claims.subject, "groups": list(claims.groups)}
    return Fact("person", f"{address}, groups: {_listed(claims.groups)}", value)


def _only(access: Access, name: str) -> Access:
    return Access.model_validate({name: getattr(access, name)})


def _content(rule: Rule) -> dict[str, Any]:
    """A rule as it is written, less its defaults."""
    return {"path": rule.path, **rule.model_dump(mode="json", exclude_defaults=True)}


def _listed(value: object) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(block: bytes) -> list[str]:
    return [line for line in block.decode("utf-8", "replace").split("\r\n") if line]
