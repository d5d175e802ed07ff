"""What the issuer's answers say of the gate as its client."""

from pathlib import Path
from urllib.parse import quote

import pytest

from oidcgate.config.secret import UnusableSecret
from oidcgate.doctor.calls import Seen
from oidcgate.doctor.client import (
    check_audience,
    check_client,
    check_secret,
    judge_client,
    judge_secret,
    next_step,
    read_secret,
)
from oidcgate.doctor.stages import Unreached
from tests.doctor.pieces import ISSUER, SITE, Answering, issuer_of, scene_of, seen

CALLBACK = "https://ui.example.com/oauth2/callback"
URL = f"{ISSUER}/auth?client_id=gate&redirect_uri=https%3A%2F%2Fui"


@pytest.mark.parametrize(
    ("reply", "onward"),
    [
        pytest.param(
            seen(302, Location="/auth/local?client_id=gate&redirect_uri=https%3A%2F%2Fui"), True, id="connector"
        ),
        pytest.param(
            seen(200, '<a href="/static/x"><a href="/auth/ldap?client_id=gate&amp;redirect_uri=https%3A%2F%2Fui">'),
            True,
            id="choice",
        ),
        pytest.param(seen(302, Location="/auth/local/login?state=x"), False, id="taken"),
        pytest.param(
            seen(302, Location="/idp?client_id=dex&redirect_uri=https%3A%2F%2Fdex"), False, id="its-own-login"
        ),
        pytest.param(
            seen(302, Location="https://x.org/a?client_id=gate&redirect_uri=https%3A%2F%2Fui"), False, id="elsewhere"
        ),
        pytest.param(seen(302, Location=URL), False, id="circle"),
        pytest.param(seen(200, "<form>"), False, id="form"),
        pytest.param(seen(404, '<a href="/auth/x?client_id=gate&redirect_uri=https%3A%2F%2Fui">'), False, id="refused"),
    ],
)
def test_next_step(reply: Seen, onward: bool) -> None:
    """Only the very same request is followed, and only at the issuer."""
    assert (next_step(reply, URL) is not None) is onward


@pytest.mark.parametrize(
    ("reply", "status", "key"),
    [
        pytest.param(seen(302, Location="/auth/local/login"), "ok", "", id="login"),
        pytest.param(seen(200, "<form>"), "ok", "", id="form"),
        pytest.param(seen(303, Location=f"{CALLBACK}?code=x&state=y"), "ok", "", id="signed-in-already"),
        pytest.param(seen(404, "Invalid client_id."), "fail", "provider.client_id", id="dex-client"),
        pytest.param(seen(400, "unknown client_id"), "fail", "provider.client_id", id="client"),
        pytest.param(seen(400, "Unregistered redirect_uri."), "fail", "Dex: staticClients.redirectURIs", id="redirect"),
        pytest.param(seen(500), "fail", "Dex: its connectors", id="connector"),
        pytest.param(
            seen(303, Location=f"{CALLBACK}?error=invalid_scope&state=y"), "fail", "provider.scopes", id="scope"
        ),
        pytest.param(
            seen(303, Location=f"{CALLBACK}?error=unauthorized_client"), "fail", "Dex: staticClients", id="no-code-flow"
        ),
    ],
)
def test_client(reply: Seen, status: str, key: str) -> None:
    """By status and page, or by the error that comes back."""
    said = judge_client(reply, f"{ISSUER}/auth/local?x=1", issuer_of())
    assert (said.status, said.key) == (status, key)


@pytest.mark.parametrize(
    ("reply", "public", "status", "words"),
    [
        pytest.param(seen(400, '{"error": "invalid_grant"}'), False, "ok", "takes the client's secret", id="good"),
        pytest.param(seen(500, '{"error": "server_error"}'), False, "ok", "takes", id="dex-of-another-client"),
        pytest.param(seen(400, '{"error": "invalid_grant"}'), True, "ok", "PKCE", id="public"),
        pytest.param(seen(401, '{"error": "invalid_client"}'), False, "fail", "does not take", id="wrong"),
        pytest.param(seen(400, '{"error": "invalid_client"}'), True, "fail", "none here", id="missing"),
        pytest.param(seen(502, "<html>"), False, "warn", "502", id="down"),
        pytest.param(seen(200, "<html>"), False, "warn", "200", id="odd"),
    ],
)
def test_secret(reply: Seen, public: bool, status: str, words: str) -> None:
    """By how a code is refused that nobody has."""
    said = judge_secret(reply, "provider.client_secret_file", is_public=public)
    assert said.status == status
    assert words in said.message


def test_where_the_secret_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, the environment, or nowhere."""
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text("from a file\n")
    monkeypatch.setenv("GATE_SECRET", "from the environment")
    for change, secret in (
        ({"client_secret_file": str(file)}, "from a file"),
        ({"client_secret_env": "GATE_SECRET"}, "from the environment"),
        ({}, None),
    ):
        assert read_secret(issuer_of({"provider": change}).section) == secret
    with pytest.raises(UnusableSecret):
        read_secret(issuer_of({"provider": {"client_secret_file": "/nowhere"}}).section)


async def test_secret_that_cannot_be_used() -> None:
    """Unreadable, or in no way that the issuer takes: said before it is asked."""
    change = {"provider": {"client_secret_file": "/nowhere"}}
    (said,) = await check_secret(scene_of(change), issuer_of(change))
    assert said.key == "provider.client_secret_file"
    change = {"provider": {"client_secret_env": "PATH"}}
    (said,) = await check_secret(scene_of(change), issuer_of(change, auth_methods=("private_key_jwt",)))
    assert said.key == "Dex: its discovery document"


async def test_no_answer() -> None:
    """While the issuer answers nothing, its address is named."""
    sites = {"sites": [{**SITE, "provider": {"audience": "one"}}]}
    scene = scene_of(sites)
    scene.caller = Answering(*[Unreached("timeout", "no answer")] * 3)
    scene.issuers[0].metadata = issuer_of().metadata
    said = await check_client(scene, scene.issuers[0])
    said += await check_secret(scene, scene.issuers[0])
    said += await check_audience(scene, scene.visits[0])
    assert {each.key for each in said} == {"provider.issuer"}


async def test_a_circle_of_connectors() -> None:
    """Redirects that only change a parameter come to an end."""
    scene = scene_of()
    there = [f"{ISSUER}/auth/{n}?client_id=gate&redirect_uri={quote(CALLBACK, safe='')}" for n in range(4)]
    scene.caller = Answering(*(seen(302, Location=each) for each in there))
    issuer = issuer_of()
    assert (await check_client(scene, issuer))[0].status == "ok"
    assert len(scene.caller.asked) == 4
