"""
Who may pass: the one place where a request's fate is decided.

Pure. Rules of this file:
- Refusals come first and need no session: isolation of origins, then rules by path, then people.
- Public paths are explicit, and a path that servers could read in two ways never matches a public rule.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Protocol, assert_never
from urllib.parse import unquote

from oidcgate.config.model import Rule
from oidcgate.errors import RequestError
from oidcgate.inbound import SAFE_METHODS, Head
from oidcgate.oidc.idtoken import Claims

AMBIGUOUS = re.compile(r"[%;\\]|//|/\.\.?(?:/|$)")
PARAMETERS = re.compile(r";[^/\\]*")  # of a segment (RFC 3986 §3.3)
SLASHES = re.compile(r"[/\\]+")
END = re.compile(r"[?#\0]")  # where a path may end once it is decoded


LONGEST_AMBIGUOUS = 1024  # characters of a path with encodings, parameters, or empty or dot segments
MOST_READINGS = 32  # of one path; honest ones have two or three
TOO_AMBIGUOUS = "This address could be read in too many ways; leave out its encodings and empty segments."


@dataclass(frozen=True, slots=True)
class Allow:
    """Pass it on."""


@dataclass(frozen=True, slots=True)
class Login:
    """A person without a session is opening a page: send them to sign in."""


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """No session, and not a page: 401 without a redirect."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """403; the sentence says why and may be shown to the person."""

    reason: str


Decision = Allow | Login | Unauthorized | Forbidden


class Crossing(Enum):
    """How a request relates to our origin, as far as the browser tells."""

    SAME = "from our own pages, or typed by the person"
    PLAIN = "no browser metadata"
    NAVIGATION = "another site leads the person here"
    FOREIGN = "another site's page acts here"


def crossing(head: Head, origin: str) -> Crossing:
    """Classify by Fetch Metadata, then Origin, then Referer."""
    ours = origin.encode()
    if head.origin is not None and head.origin != ours:
        return Crossing.FOREIGN
    if head.fetch_site in (b"same-origin", b"none"):
        return Crossing.SAME
    if head.fetch_site:
        opens = head.fetch_mode == b"navigate" and head.fetch_dest == b"document"
        return Crossing.NAVIGATION if opens and head.origin is None else Crossing.FOREIGN
    if ours in (head.origin, head.referer) or head.referer.startswith(ours + b"/"):
        return Crossing.SAME
    return Crossing.PLAIN


def may_cross(how: Crossing, method: str, *, is_api: bool, upgrade: bool) -> bool:
    """Whether a request that our cookie authenticates may act, seen from where it comes."""
    match how:
        case Crossing.SAME:
            return True
        case Crossing.PLAIN:
            return method in SAFE_METHODS and not upgrade
        case Crossing.NAVIGATION:
            return method in ("GET", "HEAD") and not is_api and not upgrade
        case Crossing.FOREIGN:
            return False
        case _:
            assert_never(how)


class People(Protocol):
    """Lists of who may: a site's ``access``, or a rule."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the provider."""

    @property
    def emails(self) -> tuple[str, ...]:
        """Verified addresses."""

    @property
    def email_domains(self) -> tuple[str, ...]:
        """Domains of verified addresses."""


def admits(people: People, claims: Claims) -> bool:
    """Whether a person is named; each list that is not empty opens the way to those it names, none opens it to all."""
    if not (people.groups or people.emails or people.email_domains):
        return True
    if set(people.groups) & set(claims.groups):
        return True
    email = claims.email if claims.email_verified else None
    return email is not None and (_same_email(email, people.emails) or _in_domain(email, people.email_domains))


def _split_email(email: str) -> tuple[str, str]:
    local, _, domain = email.rpartition("@")
    return local, domain.lower()


def _same_email(email: str, wanted: Iterable[str]) -> bool:
    return any(_split_email(email) == _split_email(other) for other in wanted)


def _in_domain(email: str, domains: Iterable[str]) -> bool:
    """``example.com`` names just that domain, ``.example.com`` those below it: the dot is the boundary."""
    domain = _split_email(email)[1]
    return any(domain.endswith(d.lower()) if d.startswith(".") else domain == d.lower() for d in domains)


def is_public(rules: tuple[Rule, ...], host: str, method: str, path: str) -> bool:
    """Whether the first rule that matches says that nobody needs to sign in."""
    if AMBIGUOUS.search(path):
        return False
    rule = deciding(rules, host, method, path)
    return rule is not None and rule.public


def deciding(rules: tuple[Rule, ...], host: str, method: str, path: str) -> Rule | None:
    """The first rule that matches."""
    return next((rule for rule in rules if matches(rule, host, method, path)), None)


def matches(rule: Rule, host: str, method: str, path: str) -> bool:
    """
    Whether a rule speaks of a host, method and raw path; its path is exact, or a prefix when it ends with ``*``.

    GET means HEAD too, which tells the same less the body (RFC 9110 §9.3.2).
    """
    if rule.methods and method not in rule.methods and not (method == "HEAD" and "GET" in rule.methods):
        return False
    if rule.hosts and not any(_is_host(host, pattern) for pattern in rule.hosts):
        return False
    return path.startswith(rule.path[:-1]) if rule.path.endswith("*") else path == rule.path


def _is_host(host: str, pattern: str) -> bool:
    """``*.example.com`` means every host below; the dot is the boundary. Without a port a pattern means any port."""
    if ":" not in pattern.rpartition("]")[2]:
        host = re.sub(r":[0-9]+$", "", host)
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def refused_by(rules: tuple[Rule, ...], host: str, method: str, path: str, claims: Claims) -> Rule | None:
    """
    The rule that keeps a signed-in person from a path, if any: the first that matches decides.

    A path that servers could read in several ways must satisfy the deciding rule of each reading.
    """
    for reading in readings(path):
        rule = deciding(rules, host, method, reading)
        if rule is not None and not admits(rule, claims):
            return rule
    return None


def readings(path: str) -> tuple[str, ...]:
    """
    The path as sent, and as servers read it that take some of the steps below, in this order.

    Raises:
        RequestError: it is so long, or could be read in so many ways, that nobody means well with it.
    """
    if not AMBIGUOUS.search(path):
        return (path,)
    if len(path) > LONGEST_AMBIGUOUS:
        raise RequestError(TOO_AMBIGUOUS)
    return _readings(path)


@lru_cache(maxsize=1024)
def _readings(path: str) -> tuple[str, ...]:
    """Asked several times for one request, and for the same paths all day."""
    found = {path}
    for step in STEPS:
        found |= {step(text) for text in found}
        if len(found) > MOST_READINGS:
            raise RequestError(TOO_AMBIGUOUS)
    return (path, *sorted(found - {path}))


def _without_parameters(path: str) -> str:
    return PARAMETERS.sub("", path)


def _cut(path: str) -> str:
    return END.split(path, maxsplit=1)[0]


def _merged(path: str) -> str:
    return SLASHES.sub("/", path)


def _resolved(path: str) -> str:
    """Without dot segments (RFC 3986 §5.2.4); an empty segment is a segment."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


# Some servers decode twice, drop parameters before or after that, resolve dots before or after they merge slashes.
STEPS = (
    _without_parameters,
    unquote,
    _without_parameters,
    unquote,
    _without_parameters,
    _cut,
    _resolved,
    _merged,
    _resolved,
)


def without_session(*, navigation: bool, is_api: bool) -> Decision:
    """What a request without a session gets (design: Contract 3)."""
    return Login() if navigation and not is_api else Unauthorized()
