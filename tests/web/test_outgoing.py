"""What a UI is sent about a person: their token or the gate's credential, and what is told besides."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.model import Kubernetes, Site, Upstream
from oidcgate.inbound import RawHeaders, read_head
from oidcgate.kube.impersonation import NotImpersonated
from oidcgate.oidc.idtoken import Claims
from oidcgate.proxy.headers import end_to_end
from oidcgate.proxy.ui import PRESETS
from oidcgate.web.outgoing import CredentialUnusable, Outgoing
from tests.support.stack import Stack
from tests.web.steps import look_again, quick_stack

CLAIMS = Claims(
    issuer="https://dex.example.com",
    subject="s-1",
    audience=("gate",),
    expires=2_000_000_000.0,
    issued_at=1_900_000_000.0,
    email="alice@example.com",
    email_verified=True,
    groups=("admins", "team shop"),
    name="Alice",
    preferred_username="alice",
)
BEARER = b"Authorization: Bearer abc.def.ghi\r\n"
OWN = "the-gate-s-own"
EVERY_NAME = {"X-S": "{subject}", "X-E": "{email}", "X-N": "{name}", "X-P": "{preferred_username}", "X-G": "{groups}"}


def outgoing(
    *,
    identity: str = "token",
    headers: dict[str, str] | None = None,
    credential: Path | None = None,
    ui: str = "plain",
    **kubernetes: Any,
) -> Outgoing:
    """Of a site."""
    own = Kubernetes(api="https://k8s.example.com", credential_file=credential and str(credential), **kubernetes)
    site = Site(
        url="https://ui.example.com",
        upstream=Upstream(url="http://ui", headers=headers or {}),
        identity=identity,
        kubernetes=own if credential else None,
    )
    return Outgoing(site, PRESETS[ui])


def lines(made: Outgoing, claims: Claims = CLAIMS, bearer: bytes = BEARER) -> list[str]:
    """The lines; each is whole."""
    found = made.lines(claims, bearer).decode().split("\r\n")
    assert found.pop() == ""
    return found


def put(file: Path, text: str) -> Path:
    """A credential that is another file than the one before."""
    fresh = file.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(text)
    return fresh.replace(file)


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    """The gate's own."""
    return put(tmp_path / "credential", f"{OWN}\n")


# The credential


def test_token() -> None:
    """The person's own token, and nothing else."""
    assert lines(outgoing()) == ["Authorization: Bearer abc.def.ghi"]


def test_fence() -> None:
    """A site that is only a fence gets nothing."""
    assert lines(outgoing(identity="none")) == []


def test_impersonate(credential: Path) -> None:
    """Who it is, one header a group, and the gate's credential last; never the person's token."""
    made = outgoing(identity="impersonate", credential=credential, username_prefix="oidc:", groups_prefix="team:")
    assert lines(made) == [
        "Impersonate-User: oidc:alice@example.com",
        "Impersonate-Group: team:admins",
        "Impersonate-Group: team:team shop",
        f"Authorization: Bearer {OWN}",
    ]
    assert made.may_change
    assert not outgoing().may_change


def test_credential_is_for_impersonation_alone(credential: Path) -> None:
    """A credential that is configured besides tokens, for what the gate asks itself, is not sent."""
    assert lines(outgoing(credential=credential)) == ["Authorization: Bearer abc.def.ghi"]
    assert lines(outgoing(identity="none", credential=credential)) == []


def test_nobody_acts_for_the_cluster_s_own(credential: Path) -> None:
    """Then there is no credential either."""
    made = outgoing(identity="impersonate", credential=credential)
    with pytest.raises(NotImpersonated):
        made.lines(replace(CLAIMS, email=None, subject="system:admin"), BEARER)


def test_system_groups(credential: Path) -> None:
    """Only those that are listed."""
    made = outgoing(identity="impersonate", credential=credential, system_groups=("system:viewers",))
    told = lines(made, replace(CLAIMS, groups=("system:masters", "system:viewers")))
    assert told[1:-1] == ["Impersonate-Group: system:viewers"]


def test_credential_is_read_again(credential: Path) -> None:
    """A new one in the file is sent from then on."""
    made = outgoing(identity="impersonate", credential=credential)
    assert lines(made)[-1] == f"Authorization: Bearer {OWN}"
    put(credential, "another")
    assert lines(made)[-1] == "Authorization: Bearer another"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(Path.unlink, id="gone"),
        pytest.param(lambda file: put(file, " \n"), id="empty"),
        pytest.param(lambda file: os.chmod(file, 0o604), id="everybody-s"),
        pytest.param(lambda file: put(file, "tokén"), id="letters-that-no-token-has"),
        pytest.param(lambda file: put(file, "a b"), id="two-words"),
        pytest.param(lambda file: put(file, "a\nImpersonate-Group: system:masters"), id="two-lines"),
        pytest.param(lambda file: put(file, "a\r\nImpersonate-Group: x"), id="a-header"),
        pytest.param(lambda file: file.write_bytes(b"\xff\xfe"), id="no-text"),
    ],
)
def test_unusable_credential(credential: Path, spoil: Callable[[Path], object]) -> None:
    """There is nothing to send, and the answer is 503; the text for people does not name the file."""
    made = outgoing(identity="impersonate", credential=credential)
    spoil(credential)
    with pytest.raises(CredentialUnusable) as refused:
        made.lines(CLAIMS, BEARER)
    assert refused.value.status == 503
    assert "credential_file" in str(refused.value)
    assert str(credential) not in refused.value.public


# What is told besides


@pytest.mark.parametrize(
    ("template", "line"),
    [
        pytest.param("{subject}", "X-A: s-1", id="subject"),
        pytest.param("{email}", "X-A: alice@example.com", id="email"),
        pytest.param("{name}", "X-A: Alice", id="name"),
        pytest.param("{preferred_username}", "X-A: alice", id="preferred-username"),
        pytest.param("{groups}", "X-A: admins,team shop", id="groups"),
        pytest.param("{token}", "X-A: abc.def.ghi", id="token"),
        pytest.param("Token {token}", "X-A: Token abc.def.ghi", id="text-and-token"),
        pytest.param("{name} <{email}>", "X-A: Alice <alice@example.com>", id="several"),
        pytest.param("cluster-one", "X-A: cluster-one", id="text-alone"),
    ],
)
def test_templates(template: str, line: str) -> None:
    """Claims in a header of the operator's choice; the credential stays last."""
    assert lines(outgoing(headers={"X-A": template})) == [line, "Authorization: Bearer abc.def.ghi"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"email": None}, id="none"),
        pytest.param({"email_verified": False}, id="not-verified"),
        pytest.param({"email": "a\r\nX-Evil: 1"}, id="a-line-of-its-own"),
        pytest.param({"email": " alice@example.com"}, id="a-space"),
        pytest.param({"email": "\ud800@example.com"}, id="half-a-character"),
    ],
)
def test_claims_that_are_not_told(changes: dict[str, object]) -> None:
    """The header is left out whole: text around nothing would name the same somebody for many people."""
    made = outgoing(headers={"X-A": "{email}", "X-B": "user {email}", "X-C": "{subject}/{email}", "X-D": "{subject}"})
    told = lines(made, replace(CLAIMS, **changes))  # type: ignore[arg-type]
    assert told == ["X-D: s-1", "Authorization: Bearer abc.def.ghi"]


def test_hostile_claims_write_no_line() -> None:
    """Whatever the provider says."""
    evil = "x\r\nAuthorization: Bearer evil\r\n\r\n"
    claims = replace(CLAIMS, subject=evil, email=evil, name=evil, preferred_username=evil, groups=(evil, "ok"))
    told = lines(outgoing(headers=EVERY_NAME), claims)
    assert told == ["X-G: ok", "Authorization: Bearer abc.def.ghi"]


def test_claims_are_no_templates() -> None:
    """What a claim says is not filled in again."""
    told = lines(outgoing(headers={"X-A": "{name}"}), replace(CLAIMS, name="{token}"))
    assert told[0] == "X-A: {token}"


def test_headlamp() -> None:
    """Its --proxy-auth names; the token's wins over a cookie of its own."""
    assert lines(outgoing(ui="headlamp")) == [
        "X-Forwarded-Id-Token: abc.def.ghi",
        "X-Forwarded-User: s-1",
        "X-Forwarded-Email: alice@example.com",
        "X-Forwarded-Group: admins,team shop",
        "Authorization: Bearer abc.def.ghi",
    ]


@pytest.mark.parametrize("identity", ["impersonate", "none"])
def test_headlamp_without_the_person_s_token(credential: Path, identity: str) -> None:
    """Headlamp would take the token in place of the credential: where none is sent, that header is empty, too."""
    told = lines(outgoing(ui="headlamp", identity=identity, credential=credential))
    assert told[0] == "X-Forwarded-Id-Token: "
    assert "abc.def.ghi" not in "".join(told)
    assert told[-1] == (
        f"Authorization: Bearer {OWN}" if identity == "impersonate" else "X-Forwarded-Group: admins,team shop"
    )


def test_headlamp_hears_of_all_groups() -> None:
    """No buffer of another proxy's limits them here."""
    groups = tuple(f"team-{number:04}" for number in range(1000))
    told = lines(outgoing(ui="headlamp"), replace(CLAIMS, groups=groups))
    assert f"X-Forwarded-Group: {','.join(groups)}" in told


@pytest.mark.parametrize(
    "name",
    ["X-Who-Am-I", "x-who-am-i", "X_Who_Am_I", "X.Who.Am.I", "x-WHO_am.i", "X--Who-Am-I", "X_-Who.Am_.I"],
)
def test_a_client_s_own_copy_is_dropped(name: str) -> None:
    """In every spelling that a server behind may take for it; others pass."""
    made = outgoing(headers={"X-Who-Am-I": "{email}"})
    raw: RawHeaders = ((b"Host", b"ui.example.com"), (name.encode(), b"mallory"), (b"X-Who", b"passes"))
    block = end_to_end(raw, read_head(raw, (1, 1)), own=b"__Host-oidcgate", dropped=made.dropped)
    assert block == b"X-Who: passes\r\n"


# With the gate before a UI


def acting(credential: Path, **kubernetes: object) -> Stack:
    """A gate that acts for people; its UI writes down what it is sent."""
    own = {"api": "https://k8s.example.com", "credential_file": str(credential), **kubernetes}
    return quick_stack(site={"identity": "impersonate", "kubernetes": own})


async def test_what_arrives(credential: Path) -> None:
    """With every request: the person by name, and the gate's credential, once."""
    async with acting(credential, username_prefix="oidc:") as stack:
        browser = await stack.browser()
        await browser.fetch(f"{stack.url}/api/v1/echo")
        assert stack.ui
        arrival = stack.ui.arrivals[-1]
        assert arrival.values("Authorization") == [f"Bearer {OWN}"]
        assert arrival.values("Impersonate-User") == ["oidc:alice@example.com"]
        assert arrival.values("Impersonate-Group") == ["platform-admins"]


async def test_a_new_credential_is_sent_without_a_restart(credential: Path) -> None:
    """At the next look at the session, which is seconds away."""
    async with acting(credential) as stack:
        browser = await stack.browser()
        put(credential, "another")
        look_again(stack)
        await browser.fetch(f"{stack.url}/api/v1/echo")
        assert stack.ui
        assert stack.ui.arrivals[-1].values("Authorization") == ["Bearer another"]


async def test_without_a_credential_nothing_goes_out(credential: Path) -> None:
    """503, nobody is signed out, and all is well once it is back."""
    async with acting(credential) as stack:
        browser = await stack.browser()
        assert stack.ui
        before = len(stack.ui.arrivals)
        credential.unlink()
        look_again(stack)
        for _ in range(2):
            page = await browser.fetch(f"{stack.url}/api/v1/echo")
            assert page.status == 503
            assert str(credential) not in page.text
        assert len(stack.ui.arrivals) == before
        put(credential, OWN)
        assert (await browser.fetch(f"{stack.url}/api/v1/echo")).status == 200
        assert stack.ui.arrivals[-1].values("Authorization") == [f"Bearer {OWN}"]


def test_extra(tmp_path: Path) -> None:
    """One header a key, percent-encoded as the API server decodes it; a claim that is empty leaves its key out."""
    file = tmp_path / "credential"
    file.touch(0o600)
    file.write_text(OWN)
    extra = {"example.com/subject": "{subject}", "via": "gate", "nick": "{name}"}
    made = outgoing(identity="impersonate", credential=file, extra=extra)
    assert lines(made, replace(CLAIMS, name=None)) == [
        "Impersonate-User: alice@example.com",
        "Impersonate-Group: admins",
        "Impersonate-Group: team shop",
        "Impersonate-Extra-example.com%2Fsubject: s-1",
        "Impersonate-Extra-via: gate",
        f"Authorization: Bearer {OWN}",
    ]
    assert outgoing(credential=file, extra=extra).lines(CLAIMS, BEARER) == BEARER  # only who acts says so
