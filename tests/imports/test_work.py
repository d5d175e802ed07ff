"""What mappings say of settings."""

from oidcgate.imports.report import Part
from oidcgate.imports.settings import Settings
from oidcgate.imports.work import Work
from tests.imports.support import given


def test_nothing_is_said_of_what_was_not_given() -> None:
    """A mapping may speak of every flag; only those given are told."""
    work = Work(Settings([given("scope", "openid")]))
    work.taken("scope")
    work.taken("client-id")
    assert work.report.lines(Part.TAKEN) == ["--scope: provider.scopes"]


def test_a_switch_that_is_off_misses_nothing() -> None:
    """Default values have no line among what is missing or safer."""
    work = Work(Settings([given("ssl-upstream-insecure-skip-verify", "false")]))
    work.none("ssl-upstream-insecure-skip-verify", "x")
    work.safer("ssl-upstream-insecure-skip-verify", "x")
    assert work.report.lines(Part.NONE) == work.report.lines(Part.SAFER) == []


def test_an_unknown_value_is_to_be_set_by_hand() -> None:
    """A value that comes from a Secret is told with our key."""
    work = Work(Settings([given("client-id", is_known=False)]))
    assert work.known("client-id") is None
    assert work.report.lines(Part.DIFFERS) == [
        "--client-id: its value is not in these files; set provider.client_id by hand"
    ]


def test_lines_that_are_about_no_flag() -> None:
    """Some differences are nobody's setting."""
    work = Work(Settings())
    work.report_safer("a")
    work.report_differs("b")
    assert (work.report.lines(Part.SAFER), work.report.lines(Part.DIFFERS)) == (["a"], ["b"])
