"""JSON and base64url: what is one reading, and what is refused."""

import pytest

from oidcgate.oidc.strictjson import decode_base64url, encode_base64url, loads, loads_object


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b'{"a":[1,-2,3.5,true,null,"x"]}', {"a": [1, -2, 3.5, True, None, "x"]}, id="all-types"),
        pytest.param(b" 7 ", 7, id="a-bare-number"),
        pytest.param(b'"[[[[[[[[[[[[[[[[[[[["', "[" * 20, id="brackets-in-a-string-are-no-depth"),
        pytest.param(rb'"\"[[[[[[[[[[[[[[[[[[[["', '"' + "[" * 20, id="escaped-quote-does-not-end-a-string"),
        pytest.param(rb'"\ud83d\ude00"', "\U0001f600", id="a-whole-surrogate-pair"),
        pytest.param('"ü"'.encode(), "ü", id="utf-8"),
        pytest.param(b"[" * 16 + b"]" * 16, None, id="sixteen-levels"),
        pytest.param(b"12345678901234567890", 12345678901234567890, id="twenty-digits"),
        pytest.param(b"1e300", 1e300, id="a-large-float-is-a-number"),
    ],
)
def test_accepts(text: bytes, value: object) -> None:
    """Plain JSON comes out as plain Python values."""
    got = loads(text, max_bytes=1000)
    assert value is None or got == value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"a":1} x', id="something-after"),
        pytest.param(b'{"a":1,"a":1}', id="duplicate-member"),
        pytest.param(rb'{"a":1,"\u0061":2}', id="duplicate-member-in-another-spelling"),
        pytest.param(b'[{"b":{"a":1,"a":2}}]', id="duplicate-member-deep-down"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b"-Infinity", id="minus-infinity"),
        pytest.param(b"1e999", id="float-beyond-limits"),
        pytest.param(b"123456789012345678901", id="twenty-one-digits"),
        pytest.param(b"9" * 900, id="huge-integer"),
        pytest.param(b"[" * 17 + b"]" * 17, id="seventeen-levels"),
        pytest.param(b'{"a":' * 100, id="deep-and-cut"),
        pytest.param(b'"' + b"a" * 999 + b'"', id="too-big"),
        pytest.param(b'"\xff"', id="not-utf-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param('"a"'.encode("utf-16"), id="utf-16"),
        pytest.param(rb'"\ud800"', id="half-a-surrogate-pair"),
        pytest.param(b"'a'", id="single-quotes"),
        pytest.param(b"[1,]", id="trailing-comma"),
        pytest.param(b'"a\nb"', id="control-character-in-a-string"),
        pytest.param(b'"unterminated \\', id="lone-backslash-at-the-end"),
    ],
)
def test_refuses(text: bytes) -> None:
    """Whatever two readers could read differently is a ValueError."""
    with pytest.raises(ValueError):
        loads(text, max_bytes=1000)


def test_depth_is_found_before_parsing() -> None:
    """A quarter of a megabyte of brackets or quotes is refused without a deep or a quadratic parse."""
    with pytest.raises(ValueError, match="levels"):
        loads(b"[" * 250_000, max_bytes=256_000)
    with pytest.raises(ValueError, match="Unterminated"):
        loads(b'"' + rb"\"" * 120_000, max_bytes=256_000)


def test_object_only() -> None:
    """An object is asked for by its own name."""
    assert loads_object(b'{"a":1}', max_bytes=10) == {"a": 1}
    with pytest.raises(ValueError, match="list"):
        loads_object(b"[]", max_bytes=10)


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"\xff\xfe\xfd", bytes(range(256))])
def test_base64url_round_trip(data: bytes) -> None:
    """Each value has one spelling."""
    text = encode_base64url(data)
    assert "=" not in text
    assert decode_base64url(text) == data


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("YQ==", id="padding"),
        pytest.param("YR", id="stray-bits"),
        pytest.param("Y", id="impossible-length"),
        pytest.param("a+b/", id="the-other-alphabet"),
        pytest.param("YQ\n", id="newline"),
        pytest.param(" YQ", id="space"),
        pytest.param("YÄ", id="not-ascii"),
    ],
)
def test_base64url_refuses(text: str) -> None:
    """Every other spelling is refused."""
    with pytest.raises(ValueError):
        decode_base64url(text)
