"""Fixtures that many tests use."""

from collections.abc import AsyncIterator

import pytest

from tests.support.stack import Stack

SKIPPED: list[str] = []


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Issuer, UI and gate with defaults."""
    async with Stack() as running:
        yield running


MAY_BE_SKIPPED = "tests/journeys/test_dex.py"  # a real Dex is not to be had everywhere; the skip says so in words


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each test against a real server that did not run."""
    if report.skipped and "real" in report.keywords and not report.nodeid.startswith(MAY_BE_SKIPPED):
        SKIPPED.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test against a real server that was left out is a failure: green must mean that it ran."""
    if SKIPPED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why the run failed although no test did."""
    if SKIPPED:
        terminalreporter.write_line(f"these must not be skipped: {', '.join(SKIPPED)}", red=True)
