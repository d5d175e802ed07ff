"""Findings as lines and as objects."""

import json

import pytest

from oidcgate.doctor.report import Finding, Status, fail, has_failed, ok, painted, skip, summary, to_json, to_text, warn

FINDINGS = [
    Finding("configuration", "", "ok", "1 site"),
    Finding("gate", "https://a.example.com", "fail", "nginx answers 502", "listen", "start it"),
    Finding("redirect", "https://a.example.com", "skip", "because gate failed"),
    Finding("cookie", "", "warn", "a port", "session.cookie.name", "name it"),
]


def test_text() -> None:
    """A line a finding, the site above its own, and below it where and what to do."""
    text = to_text(FINDINGS, place=lambda key: f"gate.yaml: {key}", colour=False)
    assert text == (
        "  ok    configuration  1 site\n"
        "\n"
        "https://a.example.com\n"
        "  fail  gate           nginx answers 502\n"
        "                       at   gate.yaml: listen\n"
        "                       do   start it\n"
        "  skip  redirect       because gate failed\n"
        "\n"
        "all sites\n"
        "  warn  cookie         a port\n"
        "                       at   gate.yaml: session.cookie.name\n"
        "                       do   name it\n"
        "\n"
        "1 failed, 1 to look at, 1 good, 1 skipped\n"
    )


def test_nothing() -> None:
    """No findings are no lines."""
    assert to_text([], place=str, colour=False) == "\n\n"


def test_json() -> None:
    """Every field, also the empty ones."""
    assert json.loads(to_json(FINDINGS))[0] == {
        "hop": "configuration",
        "site": "",
        "status": "ok",
        "message": "1 site",
        "key": "",
        "fix": "",
    }


@pytest.mark.parametrize(
    ("status", "text"), [("ok", "\033[32mok  \033[0m"), ("fail", "\033[31mfail\033[0m"), ("skip", "\033[2mskip\033[0m")]
)
def test_colours(status: Status, text: str) -> None:
    """A colour a status, and the same width."""
    assert painted(status, True) == text


def test_summary_leaves_out_what_there_is_none_of() -> None:
    """Only good ones."""
    assert summary(FINDINGS[:1]) == "1 good"


def test_failure() -> None:
    """Warnings are none."""
    assert has_failed(FINDINGS)
    assert not has_failed([FINDINGS[0], *FINDINGS[2:]])


def test_words() -> None:
    """Each kind by its word."""
    said = [ok("a"), skip("a"), warn("a", "k", "f"), fail("a", "k", "f")]
    assert [each.status for each in said] == ["ok", "skip", "warn", "fail"]
    assert [each.key for each in said] == ["", "", "k", "k"]


def test_narrow_screen() -> None:
    """Long texts go on below their beginning; words stay whole."""
    finding = Finding("gate", "", "fail", "a " * 30 + "b", "listen", "c" * 60)
    text = to_text([finding], place=str, colour=False, columns=60)
    assert text.splitlines()[:5] == [
        "  fail  gate  " + "a " * 22 + "a",
        " " * 14 + "a " * 7 + "b",
        " " * 14 + "at   listen",
        " " * 14 + "do   " + "c" * 60,
        "",
    ]
