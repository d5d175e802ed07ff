"""One client for each issuer and client id."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.web.providers import Providers

UPSTREAM = {"url": "http://127.0.0.1:2"}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A private file with a secret."""
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("first\n")
    return path


def config_of(secret: Path, *overrides: dict[str, Any], **provider: Any) -> Any:
    """A configuration with a site for each override."""
    base = {"issuer": "http://localhost:1/dex", "client_id": "gate", "client_secret_file": str(secret), **provider}
    sites = [
        {"url": f"http://s{n}.localhost", "upstream": UPSTREAM, "identity": "none", "provider": override}
        for n, override in enumerate(overrides)
    ]
    return parse_config({"provider": base, "sites": sites}, folder=secret.parent)


def test_sites_share_a_client_where_they_can(secret: Path) -> None:
    """The default has no id, others have one that does not change, and unknown ones are none."""
    own = {"client_id": "other", "client_secret_file": str(secret)}
    config = config_of(secret, {}, own, own, {"issuer": "http://localhost:3/dex", **own})
    providers = Providers(config)
    ids = [providers.id_for(config, site) for site in config.sites]
    assert ids[0] == ""
    assert ids[1] == ids[2] != ids[3]
    assert len(list(providers)) == 3
    assert ids == [Providers(config).id_for(config, site) for site in config.sites]
    assert providers.by_id("unknown") is None
    assert providers.by_id(ids[1]) is providers.for_grant("http://localhost:1/dex", "other")
    assert providers.for_grant("http://localhost:1/dex", "unknown") is None


def test_a_new_secret_works_without_a_restart(secret: Path) -> None:
    """The file is read when the secret is needed."""
    client: Any = Providers(config_of(secret, {})).by_id("")
    assert client._client_secret() == "first"
    secret.write_text("second!\n")
    assert client._client_secret() == "second!"


def test_a_secret_from_the_environment(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, never given in the configuration itself."""
    monkeypatch.setenv("GATE_SECRET", "from-outside")
    config = config_of(secret, {}, client_secret_file=None, client_secret_env="GATE_SECRET")
    client: Any = Providers(config).by_id("")
    assert client._client_secret() == "from-outside"


def test_a_public_client_has_none(secret: Path) -> None:
    """PKCE alone."""
    client: Any = Providers(config_of(secret, {}, client_secret_file=None)).by_id("")
    assert client._client_secret() is None


async def test_all_are_closed(secret: Path) -> None:
    """At the end nothing stays open."""
    own = {"client_id": "other", "client_secret_file": str(secret)}
    providers: Any = Providers(config_of(secret, {}, own))
    await providers.close()
    assert all(client._calls._closed for client in providers)


# Audiences


def test_audiences(secret: Path) -> None:
    """Each client knows its own sites' audiences; its own name is none."""
    own = {"client_id": "other", "client_secret_file": str(secret)}
    config = config_of(
        secret,
        {"audience": "b"},
        {"audience": "a"},
        {"audience": "b"},
        {**own, "audience": "gate"},
        {**own, "audience": "other"},
    )
    providers = Providers(config)
    other = providers.id_for(config, config.sites[3])
    assert [providers.audience_for(site) for site in config.sites] == ["b", "a", "b", "gate", ""]
    assert providers.audiences_of("") == ("a", "b")
    assert providers.audiences_of(other) == ("", "gate")
    assert providers.audiences_of("unknown") == ()
    assert {provider.client_id for provider in providers} == {"gate", "other"}
    assert providers.id_for_grant("http://localhost:1/dex", "other") == other
    assert providers.id_for_grant("http://localhost:1/dex", "unknown") is None


def test_scopes_with_audiences(secret: Path) -> None:
    """A login asks for all of them or for one, a refresh for one; the client's own name asks for nothing more."""
    providers = Providers(config_of(secret, {"audience": "b"}, {"audience": "a"}, {}, scopes=["openid", "email"]))
    a, b = "audience:server:client_id:a", "audience:server:client_id:b"
    assert providers.login_scopes("") == ("openid", "email", a, b)
    assert providers.login_scopes("", "b") == ("openid", "email", b)
    assert providers.login_audiences("") == {"a", "b"}
    assert providers.login_audiences("", "b") == {"b"}
    assert providers.narrowed_scopes("", "a") == ("openid", "email", a)
    for own in ("", "gate"):
        assert providers.login_scopes("", own) == providers.narrowed_scopes("", own) == ("openid", "email")
        assert providers.login_audiences("", own) == frozenset()


def test_scopes_without_audiences(secret: Path) -> None:
    """All as it was: a login asks for what is configured, and a refresh for what was granted."""
    providers = Providers(config_of(secret, {}, {"audience": "gate"}, scopes=["openid"]))
    assert providers.audiences_of("") == ("",)
    assert providers.login_scopes("") == ("openid",)
    assert providers.login_audiences("") is None
    assert providers.narrowed_scopes("", "") is None
