"""What an API server's answers are found to be."""

from typing import Any

import pytest

from oidcgate.doctor.cluster import (
    check_credential,
    judge_credential,
    judge_refusal,
    judge_review,
    judge_version,
    settings_of,
)
from oidcgate.doctor.scene import Visit
from oidcgate.kube.client import Answer
from tests.doctor.pieces import SITE, claims_of, scene_of

API = "https://api.internal"
KEY = "sites[0].kubernetes.api"


def visit(**kubernetes: str) -> Visit:
    """A site with an API server."""
    return scene_of({"sites": [{**SITE, "kubernetes": {"api": API, **kubernetes}}]}).visits[0]


def status(code: int, message: str) -> Answer:
    """A Status object."""
    return Answer(code, {"kind": "Status", "message": message})


def review(username: str, *groups: str) -> Answer:
    """A review's answer."""
    info = {"username": username, "groups": list(groups)}
    return Answer(201, {"kind": "SelfSubjectReview", "status": {"userInfo": info}})


@pytest.mark.parametrize(
    ("answer", "found", "words"),
    [
        pytest.param(Answer(200, {"gitVersion": "v1.34.0"}), "ok", "v1.34.0", id="open"),
        pytest.param(status(403, "forbidden"), "ok", "tells strangers nothing (403)", id="closed"),
        pytest.param(Answer(200, {}), "fail", "not as an API server", id="something-else"),
    ],
)
def test_version(answer: Answer, found: str, words: str) -> None:
    """It says what it is, or speaks as Kubernetes does."""
    said = judge_version(answer, API, settings_of(visit()))
    assert said.status == found
    assert words in said.message


@pytest.mark.parametrize(
    ("change", "said", "key", "words"),
    [
        pytest.param({"issuer": "http://dex"}, None, "kube-apiserver: --oidc-issuer-url", "https issuer", id="http"),
        pytest.param(
            {},
            None,
            "kube-apiserver: --oidc-client-id, --oidc-issuer-url, --oidc-ca-file",
            "in this order",
            id="nobody-says-why",
        ),
        pytest.param(
            {}, 'oidc: expected audience "x" got ["gate"]', "kube-apiserver: --oidc-client-id", "=gate", id="audience"
        ),
        pytest.param({}, "invalid bearer token", "kube-apiserver: --oidc-issuer-url", "=https://dex", id="issuer"),
        pytest.param({}, "x509: unknown authority", "kube-apiserver: --oidc-ca-file", "--oidc-ca-file", id="ca"),
        pytest.param({}, "oidc: token is expired", "kube-apiserver: its clock", "NTP", id="clock"),
    ],
)
def test_refusal(change: dict[str, Any], said: str | None, key: str, words: str) -> None:
    """The flag that is to blame, or those that may be."""
    found = judge_refusal(claims_of(**change), said)
    assert (found.status, found.key) == ("fail", key)
    assert words in found.fix


@pytest.mark.parametrize(
    ("answer", "kubernetes", "statuses", "key"),
    [
        pytest.param(review("alice@example.com", "ops", "system:authenticated"), {}, ["ok"], "", id="good"),
        pytest.param(
            review("x:alice@example.com", "ops"), {}, ["ok", "warn"], "sites[0].kubernetes.username_prefix", id="prefix"
        ),
        pytest.param(
            review("alice@example.com", "x:ops"), {}, ["ok", "warn"], "sites[0].kubernetes.groups_prefix", id="groups"
        ),
        pytest.param(review("alice@example.com"), {}, ["ok", "warn"], "kube-apiserver: --oidc-groups-claim", id="none"),
        pytest.param(review("system:anonymous"), {}, ["fail"], KEY, id="anonymous"),
        pytest.param(status(403, 'User "system:anonymous" cannot'), {}, ["fail"], KEY, id="anonymous-and-forbidden"),
        pytest.param(status(403, 'User "alice" cannot'), {}, ["warn"], "kube-apiserver: its RBAC", id="no-role"),
        pytest.param(status(404, "no"), {}, ["warn"], KEY, id="old"),
        pytest.param(Answer(200, {}), {}, ["fail"], KEY, id="something-else"),
    ],
)
def test_review(answer: Answer, kubernetes: dict[str, str], statuses: list[str], key: str) -> None:
    """Who somebody is, held against what the configuration says."""
    said = judge_review(answer, claims_of(), visit(**kubernetes))
    assert [each.status for each in said] == statuses
    assert said[-1].key == key
    assert all(each.fix for each in said if each.key)


@pytest.mark.parametrize(
    ("answer", "found", "key"),
    [
        pytest.param(review("oidcgate-doctor"), "ok", "", id="good"),
        pytest.param(status(401, "Unauthorized"), "fail", "sites[0].kubernetes.credential_file", id="unknown"),
        pytest.param(status(403, "cannot impersonate resource users"), "fail", "cluster: its RBAC", id="may-not"),
        pytest.param(status(403, "cannot create selfsubjectreviews"), "ok", "", id="nobody-may-ask"),
    ],
)
def test_credential(answer: Answer, found: str, key: str) -> None:
    """It is taken, and may act for people."""
    said = judge_credential(answer, visit())
    assert (said.status, said.key) == (found, key)


async def test_credential_that_cannot_be_read() -> None:
    """Its file is named."""
    (said,) = await check_credential(scene_of(), visit(credential_file="/nowhere"))
    assert (said.status, said.key) == ("fail", "sites[0].kubernetes.credential_file")
