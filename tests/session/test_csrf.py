"""CSRF tokens of our own forms."""

import pytest

from oidcgate.session.csrf import is_genuine, masked

SECRET = "00112233445566778899aabbccddeeff"
PAD = bytes(range(16))
TOKEN = masked(SECRET, PAD)


def test_genuine() -> None:
    """A token made from the session's secret is genuine, under every mask."""
    assert is_genuine(TOKEN, SECRET)
    assert is_genuine(masked(SECRET, bytes(16)), SECRET)


def test_masked() -> None:
    """Each page's token is another one, so that compression tells nothing about the secret."""
    assert masked(SECRET, bytes(reversed(PAD))) != TOKEN
    assert SECRET not in TOKEN
    assert len(TOKEN) == 64


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param(SECRET, id="the-bare-secret"),
        pytest.param(TOKEN[:-1], id="half-a-byte-less"),
        pytest.param(TOKEN[:-2], id="a-byte-less"),
        pytest.param(TOKEN + "00", id="a-byte-more"),
        pytest.param(TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1"), id="last-digit-changed"),
        pytest.param("f" + TOKEN[1:], id="mask-changed"),
        pytest.param("0" * 64, id="zeros"),
        pytest.param("x" * 64, id="not-hexadecimal"),
        pytest.param("ä" * 64, id="not-ascii"),
        pytest.param("\udcff" * 64, id="not-text"),
        pytest.param(masked("ff" * 16, PAD), id="another-sessions"),
    ],
)
def test_not_genuine(token: str) -> None:
    """Anything else is refused, without an error."""
    assert not is_genuine(token, SECRET)
