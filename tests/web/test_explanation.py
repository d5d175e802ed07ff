"""What is said of a request, as text and as an object."""

import json

from oidcgate.web.question import Person
from tests.web.test_explain import ACCESS, DASH, said


def test_text() -> None:
    """Aligned like a table; what follows a fact's first line stands below it."""
    lines = said(site={"access": ACCESS}).to_text().splitlines()
    assert lines[0] == f"site     sites[0] {DASH}"
    assert all(line[7:9] == "  " for line in lines)
    assert next(line for line in lines if line.startswith("headers")) == "headers  Host: ui"
    assert f"{'':9}Authorization: Bearer <ID token for gate>" in lines


def test_text_is_safe_to_show() -> None:
    """What a terminal would act on is escaped."""
    rules = {"access": {"rules": [{"path": "/x*", "groups": ["a"]}]}}
    text = said("/%78%1b[31m", site=rules, person=Person("a@b.org", groups=("\x1b[2J",))).to_text()
    assert "\x1b" not in text
    assert "/x\\u001b[31m: sites[0].access.rules[0]" in text


def test_object() -> None:
    """Plain values that become JSON, of the same facts."""
    found = said("/admin", site={"access": ACCESS})
    shown = json.loads(json.dumps(found.to_object()))
    assert list(shown) == [fact.name for fact in found.facts]
    assert shown["rule"] == {"at": "sites[0].access.rules[1]", "path": "/admin*", "groups": ["admins"], "admits": False}
    assert shown["access"]["by"] == ["groups"]
    assert shown["person"] == {"email": "alice@example.com", "subject": "<subject>", "groups": ["staff"]}
