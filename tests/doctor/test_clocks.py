"""Whose clock is wrong."""

from typing import Any

import pytest

from oidcgate.doctor.clocks import judge, peers_of
from tests.doctor.pieces import ISSUER, SITE, scene_of


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        pytest.param([("a", 0.4), ("b", -5.9)], [("ok", "")], id="agree"),
        pytest.param([], [("ok", "")], id="nobody"),
        pytest.param([("a", 0.0), ("b", 20.0)], [("warn", "clock: b")], id="one-is-odd"),
        pytest.param([("a", 0.0), ("b", -90.0)], [("fail", "clock: b")], id="one-is-wrong"),
        pytest.param([("a", 0.0), ("b", -90.0), ("c", 9)], [("fail", "clock: b"), ("warn", "clock: c")], id="two"),
        pytest.param([("a", 90.0), ("b", 91.0), ("c", 89.5)], [("fail", "clock: this machine")], id="ours"),
        pytest.param([("a", 90.0), ("b", -90.0)], [("fail", "clock: a"), ("fail", "clock: b")], id="both-ways"),
        pytest.param([("a", 90.0)], [("fail", "clock: a")], id="only-one-is-seen"),
    ],
)
def test_judge(seen: list[tuple[str, float]], found: list[tuple[str, str]]) -> None:
    """When all others agree with each other, it is ours."""
    assert [(said.status, said.key) for said in judge(seen)] == found


def test_direction() -> None:
    """Ahead or behind, of whom."""
    assert judge([("a", -90.0), ("b", -90.0)])[0].message == (
        "the clock of this machine is 90 s ahead of that of all others"
    )
    assert judge([("a", -90.0)])[0].message == "the clock of a is 90 s behind that of this machine"


def test_peers() -> None:
    """The issuer, each API server once, each UI by its first replica."""
    site: dict[str, Any] = {
        **SITE,
        "kubernetes": {"api": "https://api.internal/"},
        "upstream": {"url": ["https://a.internal", "https://b.internal"]},
    }
    second = {**site, "url": "https://two.example.com", "upstream": {"url": "unix:/run/ui"}}
    scene = scene_of({"sites": [site, second]})
    assert [url for _, url, _ in peers_of(scene)] == [
        f"{ISSUER}/.well-known/openid-configuration",
        "https://api.internal/version",
        "https://a.internal/",
        "http://localhost/",
    ]
