"""
JSON and base64url as security texts need them: one reading, or none.

Pure.

- Size and depth are bounded before the parser sees a byte, so that no input can buy stack or time.
- A member named twice is an error: two readers that each pick another one is how checks are passed by.
- Whatever is refused raises ValueError; messages never quote values.

Sources: RFC 8259 §4 and §6, RFC 7515 §2 and §5.2, RFC 4648 §3.5.
"""

import base64
import json
import math
import re
from typing import NoReturn

MAX_DEPTH = 16
_MAX_DIGITS = 20  # 2**63 has 19; anything longer is no number that this program could mean
# Strings are swallowed whole (possessive, so linear even when unterminated); what remains are brackets.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def loads(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> object:
    """
    Parse one JSON text.

    Args: ``data`` UTF-8 without a byte order mark; ``max_bytes`` and ``max_depth`` are inclusive.
    Returns: dict, list, str, int, float, bool or None.
    Raises: ValueError for too big, too deep, not UTF-8, not JSON, a duplicate member name, NaN or an infinite
    number, an integer of more than 20 digits, or half of a surrogate pair.
    """
    if len(data) > max_bytes:
        raise ValueError(f"expected at most {max_bytes} bytes, got {len(data)}")
    text = data.decode("utf-8")
    _check_depth(text, max_depth)
    value: object = json.loads(
        text,
        object_pairs_hook=_members,
        parse_int=_integer,
        parse_float=_number,
        parse_constant=_constant,
    )
    if _SURROGATE.search(text):
        # UnicodeEncodeError is a ValueError; a lone half would fail much later, in a header or a database.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def loads_object(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """Parse a JSON text that must be an object; otherwise like ``loads``."""
    value = loads(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def decode_base64url(text: str) -> bytes:
    """
    Decode base64url without padding (RFC 7515 §2).

    Raises: ValueError for padding, white space, the characters ``+`` and ``/``, an impossible length, and
    unused bits that are not zero: each value has one spelling.
    """
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError("not base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(data) != text:
        raise ValueError("base64url with stray bits")
    return data


def encode_base64url(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for match in _BRACKETS.finditer(text):
        mark = match.group()
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
        if depth > max_depth:
            raise ValueError(f"expected at most {max_depth} levels")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name occurs twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number beyond every limit")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
