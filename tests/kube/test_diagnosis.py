"""What does not fit besides the token: names, rights, and the way to the API server."""

from typing import Any

import pytest
import yaml

from oidcgate.kube import diagnosis
from oidcgate.kube.diagnosis import Part, groups_prefix_of, username_prefix_of
from oidcgate.kube.reviews import Person
from tests.kube.support import ISSUER, claims

NAMES = [
    # the API server's name, the prefix that it has
    ("alice@example.com", ""),
    ("oidc:alice@example.com", "oidc:"),
    (f"{ISSUER}#demo-0001", f"{ISSUER}#"),
    ("x-alice", "x-"),
    ("somebody", None),
]
GROUPS: list[tuple[tuple[str, ...], str | None]] = [
    (("platform-admins", "team-shop", "system:authenticated"), ""),
    (("oidc:platform-admins", "oidc:team-shop"), "oidc:"),
    (("a:platform-admins", "b:platform-admins", "b:team-shop"), "b:"),
    (("oidc:platform-admins",), None),
    ((), None),
]


@pytest.mark.parametrize(("name", "prefix"), NAMES)
def test_the_prefix_of_a_user_name(name: str, prefix: str | None) -> None:
    """Whatever stands before the longest of the token's names."""
    assert username_prefix_of(claims(), Person(name)) == prefix


@pytest.mark.parametrize(("groups", "prefix"), GROUPS)
def test_the_prefix_of_groups(groups: tuple[str, ...], prefix: str | None) -> None:
    """One that all of the token's groups have."""
    assert groups_prefix_of(claims(), Person("x", groups)) == prefix
    assert groups_prefix_of(claims(groups=()), Person("x", groups)) is None


@pytest.mark.parametrize(
    ("username", "groups", "parts"),
    [
        ("oidc:", "oidc:", []),
        ("", "oidc:", ["username"]),
        ("oidc:", "", ["groups"]),
        ("other:", "other:", ["username", "groups"]),
    ],
)
def test_prefixes_that_differ(username: str, groups: str, parts: list[str]) -> None:
    """Each is told with the key that makes them agree, and with the flag that would."""
    person = Person("oidc:alice@example.com", ("oidc:platform-admins", "oidc:team-shop"))
    found = diagnosis.of_names(claims(), person, username_prefix=username, groups_prefix=groups)
    assert [finding.part for finding in found] == [Part.PREFIX] * len(parts)
    for finding, which in zip(found, parts, strict=True):
        assert yaml.safe_load(finding.setting) == {"kubernetes": {f"{which}_prefix": "oidc:"}}
        assert f"--oidc-{which}-prefix={(username if which == 'username' else groups) or '-'}" == finding.flags
        assert "'oidc:'" in finding.sentence


@pytest.mark.parametrize(
    ("finding", "part", "words"),
    [
        (diagnosis.of_anonymous("https://k8s"), Part.ANONYMOUS, "https://k8s"),
        (diagnosis.of_missing_role("oidc:bob"), Part.ROLE, "oidc:bob"),
        (diagnosis.of_missing_role(""), Part.ROLE, "knows you"),
        (diagnosis.of_credential(401, ""), Part.CREDENTIAL, "does not take"),
        (diagnosis.of_credential(403, "cannot impersonate"), Part.CREDENTIAL, "cannot impersonate"),
        (diagnosis.of_unreachable("tls", "self-signed"), Part.CA, "self-signed"),
        (diagnosis.of_unreachable("tcp", "refused"), Part.NETWORK, "refused"),
        (diagnosis.of_unreachable("timeout", "slow"), Part.NETWORK, "slow"),
        (diagnosis.of_unexpected(404, "not found"), Part.NETWORK, "404 to the question who you are: not found."),
        (diagnosis.of_unexpected(500, ""), Part.NETWORK, "500 to the question who you are."),
    ],
)
def test_findings(finding: Any, part: Part, words: str) -> None:
    """Each says what was seen, and what to write where."""
    assert finding.part is part
    assert words in finding.sentence
    assert finding.setting
    assert finding.certain
    if finding.setting.startswith("kubernetes:"):
        assert "kubernetes" in yaml.safe_load(finding.setting)
        assert "gate" in finding.where
