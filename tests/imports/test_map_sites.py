"""Where browsers come, and the UI."""

import pytest

from oidcgate.imports.report import Part
from tests.imports.support import accepted, config, imported, told

PLAIN = "--provider=oidc --oidc-issuer-url=https://dex.example.com --client-id=gate --email-domain=* "
LOGIN = PLAIN + "--redirect-url=https://login.example.com/oauth2/callback "


def test_redirect_url() -> None:
    """The redirect URL's origin is the site."""
    assert config("").sites[0].url == "https://ui.example.com"


@pytest.mark.parametrize(
    ("flag", "url", "fill_in"),
    [
        pytest.param("", "https://login.example.com", "what browsers use", id="none"),
        pytest.param("--redirect-url=/oauth2/callback", "https://login.example.com", "what browsers use", id="no-host"),
        pytest.param(
            "--redirect-url=http://a.b/oauth2/callback", "https://a.b", "browsers must come by https", id="http"
        ),
        pytest.param("--redirect-url=https://a.b/cb", "https://a.b", "register https://a.b/oauth2/callback", id="path"),
        pytest.param("--redirect-url=http://localhost:80/oauth2/callback", "http://localhost", "", id="loopback"),
    ],
)
def test_other_redirect_urls(flag: str, url: str, fill_in: str) -> None:
    """What cannot be the site's address is to be filled in."""
    result = imported(f"{PLAIN} --upstream=http://ui {flag}", base="")
    assert accepted(result).sites[0].url == url
    assert f"FILL IN: {fill_in}" in result.text or not fill_in


def test_prefix() -> None:
    """A prefix of one segment is ours too; another one stays out."""
    assert config("--proxy-prefix=/login --redirect-url=https://a.b/login/callback").prefix == "/login"
    result = imported("--proxy-prefix=/a/b")
    assert accepted(result).prefix == "/oauth2"
    assert told(result, Part.NONE, "--proxy-prefix")


def test_upstream() -> None:
    """One upstream is the site's, with its time limit and its TLS."""
    upstream = config("--upstream-timeout=10s --ssl-upstream-insecure-skip-verify").sites[0].upstream
    assert (upstream.url, upstream.header_timeout, upstream.insecure_skip_verify) == ("https://ui.svc", 10.0, True)
    result = imported("--ssl-upstream-insecure-skip-verify --upstream-timeout=x", base=PLAIN + "--upstream=http://ui ")
    assert not accepted(result).sites[0].upstream.insecure_skip_verify
    assert told(result, Part.NONE, "--ssl-upstream-insecure-skip-verify")
    assert told(result, Part.DIFFERS, "--upstream-timeout")


@pytest.mark.parametrize(
    ("flags", "url", "part", "text"),
    [
        pytest.param(
            "--upstream=http://a/x/ --upstream=http://b", "http://b", Part.NONE, "the one for /x/", id="several"
        ),
        pytest.param("--upstream=http://a/x/", "http://a", Part.DIFFERS, "every path goes to http://a", id="path"),
        pytest.param(
            "--upstream=http://a/x --upstream=http://a/y", "http://a", Part.TAKEN, "the same address", id="same"
        ),
        pytest.param("--upstream=unix:///run/ui", "unix:/run/ui", Part.TAKEN, "unix:/run/ui", id="unix"),
        pytest.param("--upstream=http://u:hush@a", "http://ui.example.svc", Part.DIFFERS, "by hand", id="password"),
        pytest.param("--upstream=${UI}", "http://ui.example.svc", Part.DIFFERS, "by hand", id="unknown"),
        pytest.param(
            "--upstream=http://a --upstream=file:///x#/x/", "http://a", Part.NONE, "serves no files", id="files"
        ),
    ],
)
def test_other_upstreams(flags: str, url: str, part: Part, text: str) -> None:
    """A host has one UI; what is more is named."""
    result = imported(flags, base=LOGIN)
    assert accepted(result).sites[0].upstream.url == url
    assert any(text in line for line in told(result, part, "--upstream"))
    assert "hush" not in result.text + result.report.render()


@pytest.mark.parametrize("flags", ["", "--upstream=static://202", "--upstream=file:///srv"])
def test_without_an_upstream(flags: str) -> None:
    """Without a UI behind it, the gate answers another proxy, whose address is to be filled in."""
    result = imported(f"{flags} --set-xauthrequest --upstream-timeout=1s --pass-access-token", base=LOGIN)
    answers = accepted(result).forward_auth
    assert (answers.peers, answers.headers) == (("127.0.0.1/32",), ("x-auth-request",))
    assert "a site for each host" in result.text
    assert told(result, Part.NONE, "--pass-access-token")
    assert any("?allowed_groups=" in line for line in result.report.lines(Part.DIFFERS))


def test_hosts_of_one_cookie() -> None:
    """The hosts that one cookie served are one site, and everybody there needs what the first asks for."""
    found = config("--cookie-domain=.example.com --allowed-group=ops", base=LOGIN)
    assert [site.url for site in found.sites] == ["https://login.example.com", "https://*.example.com"]
    assert found.sites[1].access.groups == ("ops",)
    assert found.session.cookie.domain == "example.com"


@pytest.mark.parametrize(
    ("flags", "identity"),
    [("", "none"), ("--pass-authorization-header", "token"), ("--pass-access-token", "token")],
)
def test_identity(flags: str, identity: str) -> None:
    """The UI gets the ID token where oauth2-proxy passed a token, else nothing."""
    assert config(flags).sites[0].identity == identity


def test_headers_for_the_ui() -> None:
    """Headers that are no longer sent are told, also where only oauth2-proxy's default sends them."""
    text = "X-Forwarded-User, -Email and -Groups are not sent to the UI, which reads the ID token instead"
    assert text in imported("").report.lines(Part.DIFFERS)
    result = imported("--pass-user-headers=false --pass-basic-auth=false --set-xauthrequest")
    assert text not in result.report.lines(Part.DIFFERS)
    assert told(result, Part.TAKEN, "--pass-user-headers")
    assert told(result, Part.NONE, "--set-xauthrequest")
