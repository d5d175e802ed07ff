"""Addresses to listen on, whom to believe, where a login may lead back to, and the log."""

import pytest

from oidcgate.imports.report import Part
from tests.imports.support import accepted, config, imported, told

CARRIED = (
    "--provider=oidc --oidc-issuer-url=https://dex.example.com --client-id=gate --email-domain=* "
    "--redirect-url=https://login.example.com/oauth2/callback "
)


@pytest.mark.parametrize(
    ("flags", "listen"),
    [
        pytest.param("", "127.0.0.1:4180", id="default"),
        pytest.param("--http-address=http://:4180", "0.0.0.0:4180", id="scheme"),
        pytest.param("--http-address=unix:///run/o.sock,mode=0777", "unix:/run/o.sock", id="unix"),
        pytest.param("--http-address=fd:3", "127.0.0.1:4180", id="descriptor"),
        pytest.param("--tls-cert-file=/c --tls-key-file=/k", "0.0.0.0:443", id="tls"),
        pytest.param(
            "--tls-cert-file=/c --tls-key-file=/k --https-address=:8443 --http-address=:80", "0.0.0.0:8443", id="both"
        ),
    ],
)
def test_listen(flags: str, listen: str) -> None:
    """One address, that of https where there is a certificate, as oauth2-proxy does."""
    assert config(flags).listen == (listen,)


def test_tls() -> None:
    """A certificate and its key are taken over together or not at all."""
    tls = config("--tls-cert-file=/c --tls-key-file=/k").tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == ("/c", "/k")
    result = imported("--tls-cert-file=/c")
    assert accepted(result).tls is None
    assert told(result, Part.DIFFERS, "--tls-cert-file")


@pytest.mark.parametrize(("flag", "listen"), [(":9100", "0.0.0.0:9100"), ("nonsense", "127.0.0.1:8081")])
def test_metrics(flag: str, listen: str) -> None:
    """Metrics move to the admin listener."""
    admin = config(f"--metrics-address={flag}").admin
    assert admin is not None
    assert admin.listen == listen


def test_trusted_proxies() -> None:
    """Networks are taken over; everybody is none."""
    result = imported(
        "--reverse-proxy --trusted-proxy-ip=10.0.0.1,10.1.0.0/16,0.0.0.0/0,x --real-client-ip-header=X-Real-IP"
    )
    assert accepted(result).trusted_proxies == ("10.0.0.1/32", "10.1.0.0/16")
    assert len(told(result, Part.SAFER, "--trusted-proxy-ip")) == 2


def test_reverse_proxy_alone() -> None:
    """oauth2-proxy then believes everybody; the gate believes nobody until networks are filled in."""
    result = imported("--reverse-proxy")
    assert accepted(result).trusted_proxies == ()
    assert "FILL IN: networks of the proxies" in result.text
    assert told(result, Part.SAFER, "--reverse-proxy")
    assert told(imported("--trusted-proxy-ip=10.0.0.1"), Part.NONE, "--trusted-proxy-ip")


def test_addresses_get_nobody_in() -> None:
    """Addresses that oauth2-proxy lets in without a login are neither believed nor let in."""
    result = imported("--trusted-ip=10.0.0.0/8 --reverse-proxy")
    assert accepted(result).trusted_proxies == ()
    assert told(result, Part.SAFER, "--trusted-ip")


def test_peers() -> None:
    """The proxies that ask are those before oauth2-proxy, where they are named."""
    found = config("--reverse-proxy --trusted-proxy-ip=10.0.0.0/8", base=CARRIED)
    assert found.forward_auth.peers == ("10.0.0.0/8",)
    assert "FILL IN: networks of the proxies that ask" in imported("", base=CARRIED).text


@pytest.mark.parametrize(
    ("domain", "hosts", "part"),
    [
        ("a.example.com", ("a.example.com",), Part.TAKEN),
        (".Example.com", (".example.com",), Part.TAKEN),
        ("*.example.com", (".example.com",), Part.TAKEN),
        ("a.example.com:8443", ("a.example.com",), Part.DIFFERS),
        (".example.com:*", (".example.com",), Part.DIFFERS),
        ("*", (), Part.SAFER),
        ("https://a.example.com", (), Part.SAFER),
    ],
)
def test_return_hosts(domain: str, hosts: tuple[str, ...], part: Part) -> None:
    """Hosts and domains are taken over without their ports; there is no host that stands for all."""
    result = imported(f"--whitelist-domain={domain}")
    assert accepted(result).forward_auth.return_hosts == hosts
    assert told(result, part, "--whitelist-domain")


def test_log() -> None:
    """Request lines are on or off."""
    assert config("--request-logging=false").log.access is False
    assert config("").log.access is True
