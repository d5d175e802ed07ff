"""
What a page's Content-Security-Policy must say besides, so that the badge's script may run and ask (CSP Level 3).

Pure. Rules of this file:
- Only what the badge needs is added: the address of one script and of the one path it asks. Never ``'self'``, which
  would let in everything of the site's; nor anything for styles, which the script makes without the page's policy.
- Where only nonces count, a fresh one is added, which no other script of the page knows. A nonce is added nowhere else:
  it would switch off ``'unsafe-inline'``.
- Whatever cannot be done in this way leaves the page alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SCRIPTS = ("script-src-elem", "script-src", "default-src")  # the first that is there decides (CSP §6.8.3)
CONNECTIONS = ("connect-src", "default-src")
NEEDED_IN_A_SANDBOX = {"allow-scripts", "allow-same-origin"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The addresses that the badge needs, the origin of them, and a nonce in case it takes one."""

    script: str
    asks: str
    origin: str
    nonce: str


class Allowed(NamedTuple):
    """Policies that let the badge in, in the order in which they came, and whether its element needs the nonce."""

    values: list[bytes]
    uses_nonce: bool


class _Policy:
    """One policy: its directives as they stand there, and the words of each."""

    def __init__(self, text: str) -> None:
        self.directives = text.split(";")
        self.uses_nonce = False

    def __str__(self) -> str:
        return ";".join(self.directives)

    def words(self, name: str) -> list[str] | None:
        """What the first directive of a name says; later ones count for nothing (CSP §2.2.1)."""
        at = self._at(name)
        return None if at is None else self.directives[at].split()[1:]

    def _at(self, name: str) -> int | None:
        names = [directive.split()[0].lower() if directive.strip() else "" for directive in self.directives]
        return names.index(name) if name in names else None

    def deciding(self, names: Sequence[str]) -> str | None:
        """Which directive of these decides."""
        return next((name for name in names if self._at(name) is not None), None)

    def add(self, name: str, source: str, *, instead_of_default: str) -> None:
        """Let a directive also allow a source; the default, which speaks for other things too, is copied first."""
        words = [word for word in self.words(name) or [] if word.lower() != "'none'"]
        target = instead_of_default if name == "default-src" else name
        text = " ".join([target, *words, source])
        at = self._at(target)
        if at is not None:
            lead = " " if self.directives[at].startswith(" ") else ""
            self.directives[at] = lead + text
        else:
            if not self.directives[-1].strip():
                self.directives.pop()
            self.directives.append(" " + text)

    def keeps_out(self) -> bool:
        """Whether a sandbox keeps every script, or the site's own cookies, out of the page."""
        words = self.words("sandbox")
        return words is not None and not {word.lower() for word in words} >= NEEDED_IN_A_SANDBOX

    def let_in(self, wanted: Wanted) -> None:
        """Add what is missing."""
        name = self.deciding(SCRIPTS)
        if name is not None:
            words = self.words(name) or []
            if "'strict-dynamic'" in map(str.lower, words):
                self.uses_nonce = True
                self.add(name, f"'nonce-{wanted.nonce}'", instead_of_default="script-src")
            elif not _matches(words, wanted.script, wanted.origin):
                self.add(name, wanted.script, instead_of_default="script-src")
        name = self.deciding(CONNECTIONS)
        if name is not None and not _matches(self.words(name) or [], wanted.asks, wanted.origin):
            self.add(name, wanted.asks, instead_of_default="connect-src")


def _matches(words: Sequence[str], url: str, origin: str) -> bool:
    """Whether a source list surely allows an address; one that does in another way just gets it once more."""
    scheme = origin.partition("://")[0] + ":"
    return bool({word.lower() for word in words} & {"'self'", "*", scheme, origin, origin + "/"}) or url in words


def allowing(values: Sequence[bytes], wanted: Wanted) -> Allowed | None:
    """
    The policies of a page with the badge; None when it must be left alone.

    Args:
        values: of all headers of both kinds, those that are enforced and those that only report; all are met.
    """
    if not all(value.isascii() for value in values):
        return None
    changed: list[bytes] = []
    uses_nonce = False
    for value in values:
        policies = [_Policy(text) for text in value.decode("ascii").split(",")]
        if any(policy.keeps_out() for policy in policies):
            return None
        for policy in policies:
            policy.let_in(wanted)
            uses_nonce = uses_nonce or policy.uses_nonce
        changed.append(",".join(map(str, policies)).encode("ascii"))
    return Allowed(changed, uses_nonce)
