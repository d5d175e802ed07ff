"""
Cookies as bytes: read strictly, written whole.

Pure. Rules of this file:
- Only SP and HTAB are trimmed, names are compared byte for byte, and values hold token characters only. A sibling
  host can set cookies for us (RFC 6265 §8.6), so a name that only looks like ours, or ours twice, is no session.
- Small cookies; nothing is ever split over several.
- Every name of ours begins with the session cookie's name, and nothing that begins so passes in either direction.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

VALUE = re.compile(rb"[A-Za-z0-9_-]{1,3900}")
EDGE = bytes(range(0x21)) + b"\x7f\"'?"  # the question mark stands for whatever is not ASCII
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,200}")
LABEL = re.compile(rb"[0-9a-z]{1,32}")


@dataclass(frozen=True, slots=True)
class CookieNames:
    """
    The names used on one site.

    Attributes:
        session: keeps the handle.
        login: prefix of the attempts' cookies; a label follows.
        guard: keeps the times of the last logins, against loops.
    """

    session: bytes
    login: bytes
    guard: bytes
    secure: bool
    domain: str | None = None


def cookie_names(name: str, *, secure: bool, domain: str | None = None) -> CookieNames:
    """
    Names for a site: ``__Host-`` and Secure on https; neither on http, which is for this machine only.

    The prefix makes a browser refuse the cookie from anybody but this very host (RFC 6265bis §4.1.3.2). A cookie for a
    whole domain cannot have it; the cookies of logins under way stay on their host all the same.
    """
    bare = name.removeprefix("__Host-").removeprefix("__Secure-")
    host = f"__Host-{bare}" if secure else bare
    session = f"__Secure-{bare}" if secure and domain is not None else host
    return CookieNames(session.encode(), f"{host}-login-".encode(), f"{host}-guard".encode(), secure, domain)


def find_cookie(header: bytes, name: bytes) -> bytes | None:
    """
    The value of a cookie in the (joined) Cookie header.

    None when it is absent, malformed, there twice, or shadowed by a name that becomes ours only after trimming.
    """
    found: bytes | None = None
    wanted = folded(name)
    for key, equals, value in pairs(header):
        if folded(key) != wanted:
            continue
        if key != name or not equals or found is not None or not VALUE.fullmatch(value):
            return None
        found = value
    return found


def find_labelled(header: bytes, prefix: bytes) -> dict[bytes, bytes]:
    """Cookies whose names are a prefix and a label, by label; those that are malformed or there twice are left out."""
    found: dict[bytes, bytes] = {}
    twice: set[bytes] = set()
    for key, _, value in pairs(header):
        label = key.removeprefix(prefix)
        if label == key or not LABEL.fullmatch(label) or not VALUE.fullmatch(value):
            continue
        if label in found:
            twice.add(label)
        found[label] = value
    return {label: value for label, value in found.items() if label not in twice}


def pairs(header: bytes) -> Iterable[tuple[bytes, bytes, bytes]]:
    """Name, equals sign and value of each cookie, trimmed of SP and HTAB only."""
    for pair in header.split(b";"):
        key, equals, value = pair.strip(b" \t").partition(b"=")
        if key or equals:
            yield key, equals, value


def folded(name: bytes) -> bytes:
    """A name less everything that some parser might trim or fold away: spaces of all kinds, controls, quotes, case."""
    return name.decode("utf-8", "replace").casefold().encode("ascii", "replace").strip(EDGE)


def without_cookies(header: bytes, *, own: bytes, others: Iterable[bytes] = ()) -> bytes:
    """
    The Cookie header less what stays here; empty when nothing is left.

    Args:
        own: names that begin with this are ours, in every spelling.
        others: further names to leave out, or the beginnings of names when they end with ``*``.
    """
    unwanted = (folded(own) + b"*", *(folded(name) for name in others))
    kept = [key + equals + value for key, equals, value in pairs(header) if not is_named(folded(key), unwanted)]
    return b"; ".join(kept)


def is_named(name: bytes, patterns: Iterable[bytes]) -> bool:
    """Whether a folded name is one of the names, or begins as one that ends with ``*`` does."""
    return any(name.startswith(p[:-1]) if p.endswith(b"*") else name == p for p in patterns)


def named_in(header: bytes, patterns: Iterable[bytes]) -> list[bytes]:
    """The names in a Cookie header that fit, each once; only such as a Set-Cookie can name."""
    folds = [folded(pattern) for pattern in patterns]
    names = (key for key, _, _ in pairs(header) if NAME.fullmatch(key) and is_named(folded(key), folds))
    return list(dict.fromkeys(names))


def set_cookie(name: bytes, value: str, *, secure: bool, max_age: int | None = None, domain: str | None = None) -> str:
    """A Set-Cookie value, for this host only unless a domain is named: HttpOnly, SameSite=Lax (RFC 6265 §4.1)."""
    age = f"; Max-Age={max_age}" if max_age is not None else ""
    where = f"; Domain={domain}" if domain is not None else ""
    return f"{name.decode()}={value}; Path=/{where}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}{age}"


def expire_cookie(name: bytes, *, secure: bool, domain: str | None = None) -> str:
    """A Set-Cookie value that removes a cookie; the attributes match those it was set with."""
    return set_cookie(name, "", secure=secure, max_age=0, domain=domain)
