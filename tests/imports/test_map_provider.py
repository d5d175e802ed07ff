"""Issuer, client, scopes, audiences."""

import pytest

from oidcgate.imports.report import Part
from tests.imports.support import GOOD, accepted, config, imported, told

BARE = "--client-id=gate --client-secret-file=s --redirect-url=https://a.b/oauth2/callback --upstream=http://ui --email-domain=* "


@pytest.mark.parametrize(
    ("flags", "issuer", "scopes"),
    [
        pytest.param("", "https://accounts.google.com", ("openid", "email", "profile"), id="google-is-the-default"),
        pytest.param("--provider=gitlab", "https://gitlab.com", ("openid", "email", "profile"), id="gitlab"),
        pytest.param(
            "--provider=azure --azure-tenant=t",
            "https://login.microsoftonline.com/t/v2.0",
            ("openid", "email", "profile", "offline_access"),
            id="azure",
        ),
        pytest.param(
            "--provider=keycloak-oidc --oidc-issuer-url=https://k.b/realms/x",
            "https://k.b/realms/x",
            ("openid", "email", "profile", "groups", "offline_access"),
            id="keycloak",
        ),
    ],
)
def test_issuers(flags: str, issuer: str, scopes: tuple[str, ...]) -> None:
    """A provider that speaks OpenID Connect is its issuer, asked only for scopes that it knows."""
    result = imported(flags, base=BARE)
    provider = accepted(result).provider
    assert (provider.issuer, provider.scopes) == (issuer, scopes)
    assert result.to_fill_in == 0


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        pytest.param("--provider=github", "put Dex in front, with its github connector", id="github"),
        pytest.param("--provider=keycloak", "use the realm's issuer", id="old-keycloak"),
        pytest.param("--provider=login.gov", "signed assertions", id="login.gov"),
        pytest.param("--provider=oidc", "the issuer's URL", id="no-issuer"),
        pytest.param("--provider=entra-id", "the issuer's URL", id="entra-of-every-tenant"),
        pytest.param("--provider=oidc --oidc-issuer-url=https://u:hush@a.b", "the issuer's URL", id="password"),
    ],
)
def test_issuers_to_fill_in(flags: str, advice: str) -> None:
    """Where there is no issuer to take, a person is told what to put there."""
    result = imported(flags, base=BARE)
    assert accepted(result).provider.issuer == "https://dex.example.com"
    assert any("FILL IN" in line and advice in line for line in result.text.splitlines())
    assert "hush" not in result.text


def test_client_secret_file() -> None:
    """A secret's file is taken over."""
    assert config("").provider.client_secret_file == "/run/secret"


@pytest.mark.parametrize("flags", ["--client-secret=hush", "--client-secret-file=${FILE}"])
def test_client_secret_in_a_flag(flags: str) -> None:
    """A secret is not copied; a file is to be made."""
    result = imported(flags, base=GOOD.replace("--client-secret-file=/run/secret", ""))
    assert accepted(result).provider.client_secret_file == "/etc/gate/client-secret"
    assert "mode 0600" in result.text


def test_client_secret_in_the_environment() -> None:
    """A secret that is in the environment stays there."""
    base = GOOD.replace("--client-secret-file=/run/secret", "")
    provider = config("", base=base, x_env="OAUTH2_PROXY_CLIENT_SECRET=hush").provider
    assert (provider.client_secret_env, provider.client_secret_file) == ("OAUTH2_PROXY_CLIENT_SECRET", None)


def test_public_client() -> None:
    """Without a secret it is a public client, and says so."""
    result = imported("", base=GOOD.replace("--client-secret-file=/run/secret", ""))
    assert accepted(result).provider.client_secret_file is None
    assert "a public client" in result.text


def test_unknown_client() -> None:
    """An id from a Secret is to be filled in."""
    result = imported("--client-id=${ID}")
    assert accepted(result).provider.client_id == "oidcgate"
    assert "FILL IN: the client's id" in result.text


@pytest.mark.parametrize(
    ("given", "wanted", "part"),
    [
        ("openid groups offline_access", "openid groups offline_access", Part.TAKEN),
        ("openid email", "openid email groups offline_access", Part.DIFFERS),
        ("email", "email openid groups offline_access", Part.DIFFERS),
    ],
)
def test_scopes(given: str, wanted: str, part: Part) -> None:
    """What RBAC and renewal need is added, which is told."""
    result = imported(f"--scope='{given}'")
    assert accepted(result).provider.scopes == tuple(wanted.split())
    assert told(result, part, "--scope")


def test_certificates() -> None:
    """One file is taken over, of several a bundle is to be made."""
    assert config("--provider-ca-file=/ca").provider.ca_file == "/ca"
    result = imported("--provider-ca-file=/a,/b")
    assert accepted(result).provider.ca_file == "/a"
    assert "FILL IN: one bundle with all of /a, /b" in result.text


def test_audiences() -> None:
    """Further audiences are for logins; programs with tokens pass only where oauth2-proxy let them."""
    closed = config("--oidc-extra-audience=kubectl")
    assert (closed.provider.audiences, closed.sites[0].programs.audiences) == (("kubectl",), ())
    opened = config("--oidc-extra-audience=kubectl --skip-jwt-bearer-tokens")
    assert opened.sites[0].programs.audiences == ("gate", "kubectl")


def test_algorithms() -> None:
    """Signatures by a shared secret are never accepted."""
    assert config("--oidc-enabled-signing-alg=ES256").provider.algorithms == ("ES256",)
    result = imported("--oidc-enabled-signing-alg=HS256,RS256")
    assert accepted(result).provider.algorithms == ("RS256",)
    assert told(result, Part.SAFER, "--oidc-enabled-signing-alg")


def test_challenge() -> None:
    """PKCE is always S256."""
    assert told(imported("--code-challenge-method=S256"), Part.TAKEN, "--code-challenge-method")
    assert told(imported("--force-code-challenge-method=plain"), Part.SAFER, "--force-code-challenge-method")
