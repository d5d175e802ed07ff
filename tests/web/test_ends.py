"""How ends are called; tests/web/test_followed.py has each of them from a real connection."""

import pytest

from oidcgate.web.ends import worded


@pytest.mark.parametrize(
    ("text", "word", "reason"),
    [
        ("closed by the UI", "ui", ""),
        ("the gate restarts", "restart", ""),
        ("the session ended: the gate restarts (1012)", "restart", ""),
        ("nothing was sent for too long", "idle", ""),
        ("Session ended: the person signed out", "session_end", "the person signed out"),
        ("the session ended: Session ended: it (really) ended (4001)", "session_end", "it (really) ended"),
        ("a broken chunk: geheim", "error", "told to people"),
    ],
)
def test_words(text: str, word: str, reason: str) -> None:
    """How ends are called; what a failure says is not told, but what people may know of it."""
    assert worded(text, "told to people") == (word, reason)
