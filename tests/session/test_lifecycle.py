"""When tokens are renewed, how long to wait after failures, when "seen" is written."""

import pytest

from oidcgate.session.lifecycle import backoff, renewal_due, touch_due


@pytest.mark.parametrize(
    ("life", "ahead", "jitter", "before"),
    [
        pytest.param(3600, 120, 0.0, 120, id="ahead-of-a-long-token"),
        pytest.param(300, 120, 0.0, 60, id="a-fifth-of-a-short-one"),
        pytest.param(3600, 120, 1.0, 132, id="jitter-adds-a-tenth"),
        pytest.param(300, 120, 0.5, 63, id="half-the-jitter"),
        pytest.param(3600, 0, 1.0, 0, id="nothing-ahead"),
        pytest.param(-10, 120, 1.0, 0, id="a-token-that-ended-before-it-began"),
    ],
)
def test_renewal(life: float, ahead: float, jitter: float, before: float) -> None:
    """Renewal begins min(ahead, a fifth of the life) before the end, and a little earlier at random."""
    issued = 1_800_000_000.0
    due = renewal_due(issued=issued, expires=issued + life, ahead=ahead, jitter=jitter)
    assert issued + life - due == pytest.approx(before)


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"),
    [
        pytest.param(1, 0.0, 1, id="first"),
        pytest.param(2, 0.0, 2, id="doubles"),
        pytest.param(6, 0.0, 32, id="and-doubles"),
        pytest.param(7, 0.0, 60, id="at-most-a-minute"),
        pytest.param(10_000, 0.0, 60, id="however-many"),
        pytest.param(7, 1.0, 30, id="less-up-to-a-half"),
    ],
)
def test_backoff(failures: int, jitter: float, seconds: float) -> None:
    """Waits double up to a minute, and spread."""
    assert backoff(failures, jitter) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("since", "idle", "due"),
    [
        pytest.param(59, 3600, False, id="not-yet"),
        pytest.param(60, 3600, True, id="after-a-minute"),
        pytest.param(9, 100, False, id="short-limit-not-yet"),
        pytest.param(10, 100, True, id="a-tenth-of-a-short-limit"),
    ],
)
def test_touch(since: float, idle: float, due: bool) -> None:
    """ "Seen" is written once a minute, or ten times an idle period when that is short."""
    assert touch_due(stored_seen=1000.0, now=1000.0 + since, idle=idle) is due
