"""What kubectl says to a plugin, and hears from it."""

import json

import pytest

from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.exec_credential import check_exec_info, exec_credential, used_up

V1 = "client.authentication.k8s.io/v1"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        json.dumps({"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": True}}),
        json.dumps({"apiVersion": V1, "kind": "ExecCredential", "spec": {"cluster": {"server": "https://x"}}, "x": 1}),
    ],
)
def test_what_is_understood(text: str | None) -> None:
    """The version of today, and a person who calls without kubectl."""
    check_exec_info(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"a": 1, "a": 2}', "cannot be read"),
        (json.dumps({"apiVersion": f"{V1}beta1", "kind": "ExecCredential"}), f"in the words of '{V1}beta1'"),
        (json.dumps({"apiVersion": V1, "kind": "Other"}), "set `apiVersion"),
        ("{}", "kubectl 1.22"),
    ],
)
def test_what_is_not(text: str, words: str) -> None:
    """Others are refused in one sentence that says what to do."""
    with pytest.raises(CredentialError) as refused:
        check_exec_info(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("life", "left"), [(86400, 60), (120, 60), (100, 50), (30, 15)])
def test_used_up(life: int, left: int) -> None:
    """A minute early, or at half of a very short life."""
    assert used_up(1000.0, 1000.0 + life) == 1000 + life - left


def test_answer() -> None:
    """One line of JSON, with the time as kubectl reads it."""
    text = exec_credential("a.b.c", until=1_700_000_000.9)
    assert "\n" not in text
    assert json.loads(text) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "status": {"token": "a.b.c", "expirationTimestamp": "2023-11-14T22:13:20Z"},
    }
