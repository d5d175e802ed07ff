"""Durations and sizes as people write them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from oidcgate.config.units import Duration, Size, parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("30s", 30.0, id="seconds"),
        pytest.param("1.5m", 90.0, id="a-fraction"),
        pytest.param("1h30m", 5400.0, id="two-units"),
        pytest.param(" 12h ", 43200.0, id="spaces-around"),
        pytest.param("2d", 172800.0, id="days"),
        pytest.param("0s", 0.0, id="zero"),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """A number with a unit, or several, become seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(30, id="no-unit"),
        pytest.param(30.5, id="fraction-without-unit"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param("30", id="text-without-unit"),
        pytest.param("", id="empty"),
        pytest.param("30 s", id="space-inside"),
        pytest.param("-5m", id="negative"),
        pytest.param("5w", id="unknown-unit"),
        pytest.param("1h 30m", id="two-words"),
        pytest.param(True, id="a-switch"),
        pytest.param(None, id="null"),
    ],
)
def test_no_duration(value: object) -> None:
    """Without a unit nobody knows what is meant; the answer shows how to write it."""
    with pytest.raises(ValueError, match="is not a duration; write it with a unit, such as 30s"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        pytest.param(0, 0, id="zero"),
        pytest.param(65536, 65536, id="bytes"),
        pytest.param("65536", 65536, id="bytes-as-text"),
        pytest.param("100B", 100, id="with-b"),
        pytest.param("64KiB", 65536, id="kibibytes"),
        pytest.param("64 kib", 65536, id="case-and-space-do-not-matter"),
        pytest.param("5MiB", 5 << 20, id="mebibytes"),
        pytest.param("1GiB", 1 << 30, id="gibibytes"),
        pytest.param("1kB", 1000, id="kilobytes"),
        pytest.param("2MB", 2_000_000, id="megabytes"),
    ],
)
def test_size(value: object, count: int) -> None:
    """Bytes, or a number with a unit, become bytes."""
    assert parse_size(value) == count


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(-1, "cannot be negative", id="negative"),
        pytest.param("-1", "is not a size", id="negative-text"),
        pytest.param("1.5MiB", "is not a size", id="fraction"),
        pytest.param("64K", "is not a size", id="half-a-unit"),
        pytest.param("lots", "is not a size", id="a-word"),
        pytest.param(True, "is not a size", id="a-switch"),
        pytest.param(1.0, "is not a size", id="a-float"),
        pytest.param(None, "is not a size", id="null"),
    ],
)
def test_no_size(value: object, message: str) -> None:
    """What is no size says how to write one."""
    with pytest.raises(ValueError, match=message):
        parse_size(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0.0, "0s", id="zero"),
        pytest.param(0.25, "250ms", id="below-a-second"),
        pytest.param(1.001, "1001ms", id="not-cut-by-binary-fractions"),
        pytest.param(90.0, "90s", id="seconds"),
        pytest.param(5400.0, "90m", id="minutes"),
        pytest.param(43200.0, "12h", id="hours"),
    ],
)
def test_show_duration(seconds: float, text: str) -> None:
    """The largest unit that divides evenly is shown, and it parses back."""
    assert show_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        pytest.param(0, 0, id="zero"),
        pytest.param(1000, 1000, id="not-even"),
        pytest.param(65536, "64KiB", id="kibibytes"),
        pytest.param(5 << 20, "5MiB", id="mebibytes"),
        pytest.param(1 << 30, "1GiB", id="gibibytes"),
    ],
)
def test_show_size(count: int, shown: object) -> None:
    """The largest unit that divides evenly is shown, and it parses back."""
    assert show_size(count) == shown
    assert parse_size(shown) == count


def test_types() -> None:
    """As types of a model they parse, and are written back as people write them."""
    duration, size = TypeAdapter(Duration), TypeAdapter(Size)
    assert duration.dump_python(duration.validate_python("90m")) == "90m"
    assert size.dump_python(size.validate_python("1024KiB")) == "1MiB"
    with pytest.raises(ValidationError, match="write it with a unit"):
        duration.validate_python(90)
