"""
What is said of a request: facts in their order, for people and for programs.

Pure.
"""

from dataclasses import dataclass
from typing import Any, Literal

from oidcgate.config.model import Rule
from oidcgate.errors import RequestError
from oidcgate.oidc.claims import Claims
from oidcgate.web.live import Live
from oidcgate.web.logs import printable
from oidcgate.web.question import DOES, Question
from oidcgate.web.site import SiteRuntime


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


def refused(error: RequestError) -> Verdict:
    """What breaks a rule of HTTP or of ours."""
    return Verdict("refused", error.status, f"{error.status} refused: {error.public}")


def request_fact(site: SiteRuntime, target: str, question: Question, how: str) -> Fact:
    """The request, and whose page makes it."""
    seen = f" ({how})" if how else ""
    by = f", from {question.origin}" if question.origin else ""
    text = f"{question.method} {site.origin}{target}: {DOES[question.kind]}{by}{seen}"
    value = {"method": question.method, "url": site.origin + target, "kind": question.kind}
    return Fact("request", text, {**value, "origin": question.origin, "crossing": how or None})


def person_fact(live: Live | None) -> Fact:
    """Who asks."""
    if live is None:
        return Fact("person", "nobody is signed in", None)
    claims: Claims = live.claims
    address = claims.email or f"{claims.subject}, without a usable address"
    value = {"email": claims.email, "subject": claims.subject, "groups": list(claims.groups)}
    return Fact("person", f"{address}, groups: {listed(claims.groups)}", value)


def content_of(rule: Rule) -> dict[str, Any]:
    """A rule as it is written, less its defaults."""
    return {"path": rule.path, **rule.model_dump(mode="json", exclude_defaults=True)}


def listed(value: object) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def lines_of(block: bytes) -> list[str]:
    """A header block's lines."""
    return [line for line in block.decode("utf-8", "replace").split("\r\n") if line]
