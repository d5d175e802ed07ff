"""Values as Go writes them."""

import pytest

from oidcgate.imports.units import parse_go_duration, split_list, url_parts


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("168h0m0s", 604800.0, id="as-printed"),
        pytest.param("1h30m", 5400.0, id="two-units"),
        pytest.param("1.5s", 1.5, id="fraction"),
        pytest.param("300ms", 0.3, id="milliseconds"),
        pytest.param("0", 0.0, id="zero-has-no-unit"),
        pytest.param("30", None, id="no-unit"),
        pytest.param("1d", None, id="go-has-no-days"),
        pytest.param("1h x", None, id="rest"),
        pytest.param("", None, id="empty"),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    """Go's durations in seconds; None for anything else."""
    assert parse_go_duration(text) == seconds


def test_lists_are_csv() -> None:
    """A quoted comma does not split."""
    assert split_list('a,"b,c"') == ["a", "b,c"]
    assert split_list("") == []


def test_what_is_no_url() -> None:
    """A broken URL has no parts, and raises nothing."""
    assert url_parts("https://[::1").netloc == ""
    assert url_parts("https://a.example/b").path == "/b"
