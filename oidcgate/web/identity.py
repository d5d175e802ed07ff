"""
What an allowing answer tells the proxy that asked: the bearer, and who the person is.

Pure. Rules of this file:
- Every configured name is there, if need be empty: a name that is missing would let the client's own copy pass.
- A value is printable and has no space around it, and a group whose name holds a comma is left out: joined with the
  others it would read as two. An address counts once it is verified.
- An answer stays within the 4 KiB that nginx reads by default, as long as the token lets it.
"""

from collections.abc import Sequence

from oidcgate.oidc.idtoken import Claims

BUDGET = 3840  # bytes for these lines; nginx's proxy_buffer_size is 4096 for a whole head, and the rest takes 200
WARN_TOKEN = 3584  # bytes of a token from which default buffers are in danger (measured: 3.7 kB pass, 3.8 kB do not)
LINE_COST = 4  # bytes of ": " and CRLF


def identity_lines(
    claims: Claims | None, bearer: bytes, groups: Sequence[str], *, budget: int | None = BUDGET
) -> bytes:
    """
    Header lines of an allowing answer.

    Args:
        claims: of the person; None where nobody needed to sign in.
        bearer: the whole Authorization line, or nothing.
        groups: which names, as in ``forward_auth.headers``.
        budget: bytes that the lines may take; None = any number.
    """
    token = bearer.strip().removeprefix(b"Authorization: Bearer ")
    needed: list[bytes] = []
    optional: list[tuple[bytes, bytes]] = []
    if "authorization" in groups:
        needed.append(bearer or b"Authorization: \r\n")
    if "x-forwarded" in groups:
        needed.append(b"X-Forwarded-Id-Token: " + token + b"\r\n")
    if "x-auth-request" in groups:
        optional += _described(claims, b"X-Auth-Request-User", b"X-Auth-Request-Email", b"X-Auth-Request-Groups")
        optional.append((b"X-Auth-Request-Preferred-Username", value_of(claims.preferred_username if claims else None)))
    if "x-forwarded" in groups:
        optional += _described(claims, b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Group")
    return b"".join([*needed, *_fitting(optional, -1 if budget is None else budget - sum(map(len, needed)))])


def _described(claims: Claims | None, user: bytes, email: bytes, groups: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (user, value_of(claims.subject if claims else None)),
        (email, value_of(claims.email if claims and claims.email_verified else None)),
        (groups, groups_value(claims.groups if claims is not None else ())),
    ]


def value_of(text: str | None) -> bytes:
    """A header's value; empty for one that cannot be one."""
    return b"" if text is None or not text.isprintable() or text != text.strip() else text.encode("utf-8", "replace")


def groups_value(groups: Sequence[str]) -> bytes:
    """Groups joined by commas."""
    return b",".join(value_of(group) for group in groups if "," not in group and value_of(group))


def _fitting(lines: list[tuple[bytes, bytes]], room: int) -> list[bytes]:
    """The lines, those emptied that do not fit; all of them when the token itself has left no room."""
    kept: list[bytes] = []
    room -= sum(len(name) + LINE_COST for name, _ in lines)
    for name, value in lines:
        fits = room < 0 or len(value) <= room
        if room >= 0 and fits:
            room -= len(value)
        kept.append(name + b": " + (value if fits else b"") + b"\r\n")
    return kept
