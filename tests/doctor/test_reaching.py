"""What to do about an address that cannot be reached."""

import pytest

from oidcgate.doctor.reaching import DAY, Settings, certified, unreached
from oidcgate.doctor.stages import Certificate, Reason, Stage, Unreached

FULL = Settings("the UI", "sites[0].upstream.url", "sites[0].upstream.ca_file", "sites[0].upstream.server_name")
BARE = Settings("the issuer", "provider.issuer")
THEIRS = "the UI: its certificate"


@pytest.mark.parametrize(
    ("stage", "reason", "settings", "key", "words"),
    [
        pytest.param("name", "", FULL, FULL.address, "DNS", id="name"),
        pytest.param("tcp", "", FULL, FULL.address, "start the UI", id="tcp"),
        pytest.param("timeout", "", FULL, FULL.address, "NetworkPolicy", id="timeout"),
        pytest.param("reply", "", FULL, FULL.address, "something else", id="reply"),
        pytest.param("tls", "plain", FULL, FULL.address, "http://", id="plain"),
        pytest.param("tls", "expired", FULL, THEIRS, "renew", id="expired"),
        pytest.param("tls", "early", FULL, THEIRS, "clock", id="early"),
        pytest.param("tls", "mismatch", FULL, FULL.name, "set it to a.svc", id="mismatch"),
        pytest.param("tls", "mismatch", BARE, BARE.address, "host name", id="mismatch-without-a-setting"),
        pytest.param("tls", "untrusted", FULL, FULL.ca, "CA", id="untrusted"),
        pytest.param("tls", "untrusted", BARE, "the issuer: its certificate", "whole chain", id="untrusted-bare"),
        pytest.param("tls", "", FULL, FULL.ca, "CA", id="odd"),
    ],
)
def test_unreached(stage: Stage, reason: Reason, settings: Settings, key: str, words: str) -> None:
    """One key, and one thing to do."""
    said = unreached(Unreached(stage, "it was so", reason), settings, names=("a.svc",))
    assert (said.status, said.key) == ("fail", key)
    assert words in said.fix
    assert said.message.startswith("it was so")


def test_mismatch_without_names() -> None:
    """Nothing is made up."""
    assert "a name that the certificate has" in unreached(Unreached("tls", "x", "mismatch"), FULL).fix


@pytest.mark.parametrize(("days", "status"), [(90, "ok"), (14.1, "ok"), (13.9, "warn"), (-1, "warn")])
def test_certified(days: float, status: str) -> None:
    """Two weeks before its end it is worth a word."""
    assert certified(Certificate(1000 + days * DAY, ()), 1000, FULL).status == status
