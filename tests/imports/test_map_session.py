"""Cookie, lifetimes and store."""

import pytest

from oidcgate.imports.report import Part
from tests.imports.support import accepted, config, imported, told

REDIS = "--session-store-type=redis "


@pytest.mark.parametrize(
    ("flags", "lifetime", "idle"),
    [
        pytest.param("", 12 * 3600.0, 3600.0, id="ours"),
        pytest.param("--cookie-expire=168h0m0s", 168 * 3600.0, 3600.0, id="a-week"),
        pytest.param("--cookie-expire=30m", 1800.0, 1800.0, id="shorter-than-idle"),
        pytest.param("--cookie-expire=0", 12 * 3600.0, 3600.0, id="as-long-as-the-browser"),
        pytest.param("--cookie-expire=soon", 12 * 3600.0, 3600.0, id="nonsense"),
    ],
)
def test_lifetimes(flags: str, lifetime: float, idle: float) -> None:
    """A lifetime is taken over; idle never exceeds it."""
    session = config(flags).session
    assert (session.lifetime, session.idle) == (lifetime, idle)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--cookie-name=_oauth2_proxy", "__Host-oidcgate"),
        ("--cookie-name=_k8s", "__Host-_k8s"),
        ("--cookie-name=__Secure-k8s", "__Host-k8s"),
        ("--cookie-name=k8s --cookie-domain=.example.com", "__Secure-k8s"),
        ("--cookie-name=a.b", "__Host-oidcgate"),
    ],
)
def test_cookie_name(flags: str, name: str) -> None:
    """A name of one's own stays, behind our prefix, so that both programs' cookies are apart."""
    result = imported(flags)
    assert accepted(result).session.cookie.name == name
    assert told(result, Part.DIFFERS, "--cookie-name")


@pytest.mark.parametrize(
    ("flags", "domain", "part"),
    [
        pytest.param("--cookie-domain=.Example.com", "example.com", Part.TAKEN, id="domain"),
        pytest.param("--cookie-domain=example.com,other.org", "example.com", Part.DIFFERS, id="several"),
        pytest.param("--cookie-domain=other.org", None, Part.NONE, id="elsewhere"),
        pytest.param("--cookie-domain=ui.example.com", None, Part.DIFFERS, id="the-host-itself"),
        pytest.param("--cookie-domain=${X}", None, Part.DIFFERS, id="unknown"),
    ],
)
def test_cookie_domain(flags: str, domain: str | None, part: Part) -> None:
    """One domain above the site; with the host itself, the cookie is that host's alone."""
    result = imported(flags)
    assert accepted(result).session.cookie.domain == domain
    assert told(result, part, "--cookie-domain")


def test_sessions_in_cookies() -> None:
    """Sessions in cookies become sessions in a file."""
    result = imported("--session-store-type=cookie --redis-username=x")
    assert accepted(result).session.store == "sqlite"
    assert told(result, Part.NONE, "--redis-username")


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ("--redis-connection-url=redis://r:6379", "redis://r:6379"),
        ("--redis-connection-url=redis://r/2", "redis://r/2"),
        ("--redis-connection-url=rediss://u:hush@r", "rediss://u@r?password_file=/run/secrets/redis-password"),
        (
            "--redis-connection-url=redis://r --redis-username=u",
            "redis://u@r?password_file=/run/secrets/redis-password",
        ),
        ("--redis-connection-url=redis://r --redis-ca-path=/ca", "rediss://r?ca_file=/ca"),
        ("--redis-connection-url=unix:///run/redis", "unix:///run/redis"),
        ("--redis-use-cluster --redis-cluster-connection-urls=redis://a:1,redis://b:2", "redis+cluster://a:1,b:2"),
        (
            "--redis-use-sentinel --redis-sentinel-master-name=m --redis-sentinel-connection-urls=redis://a,redis://b "
            "--redis-password=hush --redis-sentinel-password=hush",
            "redis+sentinel://a,b/m?password_file=/run/secrets/redis-password"
            "&sentinel_password_file=/run/secrets/redis-password-sentinel",
        ),
        ("--redis-use-sentinel --redis-sentinel-connection-urls=a", "redis://localhost:6379"),
        ("--redis-connection-url=${URL}", "redis://localhost:6379"),
    ],
)
def test_redis(flags: str, url: str) -> None:
    """Redis is where it was; its password is named by a file, never copied."""
    result = imported(REDIS + flags)
    session = accepted(result).session
    assert (session.store, session.keys_file) == (url, "/etc/gate/keys")
    assert "hush" not in result.text + result.report.render()
    assert url != "redis://localhost:6379" or "FILL IN: the address of Redis" in result.text


def test_redis_password_in_the_environment() -> None:
    """A password that is in the environment stays there."""
    found = config(REDIS + "--redis-connection-url=redis://r", x_env="OAUTH2_PROXY_REDIS_PASSWORD=hush")
    assert found.session.store == "redis://r?password_env=OAUTH2_PROXY_REDIS_PASSWORD"
