"""Checks that need more than one key, or a look at a file."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.config.model import Config
from oidcgate.config.rules import effective_provider
from tests.config.support import PNG, document, key_and_certificate, pem, private, problems, provider, site, upstream

SECRET = {"issuer": "https://dex.example.com", "client_id": "gate", "client_secret_file": "/a"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            provider(issuer="http://dex.example.com"),
            "provider.issuer: http is for issuers on this machine only; use https",
            id="http-issuer",
        ),
        pytest.param(
            provider(internal_url="http://dex.dex.svc:5556"),
            "provider.internal_url: sends the client secret and tokens in clear; use https, or set"
            " insecure_internal_http: true",
            id="http-internal-url",
        ),
        pytest.param(
            provider(scopes=["email"]),
            "provider.scopes: openid is needed: without it the issuer gives no ID token",
            id="without-openid",
        ),
        pytest.param(
            provider(client_secret_file="/a", client_secret_env="B"),
            "provider.client_secret_env: give the secret once: by file or by environment",
            id="two-secrets",
        ),
        pytest.param(
            document(sites=[site(url="http://ui.example.com")]),
            "sites[0].url: http is for names of this machine only; browsers must come by https",
            id="http-site",
        ),
        pytest.param(
            document(sites=[site(), site(url="https://UI.example.com:443")]),
            "sites[1].url: the same host as sites[0].url",
            id="one-host-twice",
        ),
        pytest.param(document(workers=0), "workers: must be 1 or more, or auto", id="no-worker"),
        pytest.param(
            document(workers="auto", session={"store": "memory"}),
            "workers: several processes cannot share the memory store; use sqlite",
            id="workers-and-memory",
        ),
        pytest.param(
            document(trusted_proxies=["10.0.0.0/8", "0.0.0.0/0"]),
            "trusted_proxies: 0.0.0.0/0 would let anybody claim any address",
            id="all-of-ipv4",
        ),
        pytest.param(
            document(trusted_proxies=["::1/0"]),
            "trusted_proxies: ::/0 would let anybody claim any address",
            id="all-of-ipv6-in-disguise",
        ),
        pytest.param(
            document(session={"store": "redis://:geheim@redis", "keys_file": "/k"}),
            "session.store: a password does not belong here; use ?password_file= or ?password_env=",
            id="password-in-url",
        ),
        pytest.param(
            document(session={"store": "redis+sentinel://a,b/m"}),
            "session.keys_file: is needed with Redis: every replica must have the same keys",
            id="redis-without-keys",
        ),
        pytest.param(
            document(session={"store": "postgres"}),
            "session.store: must be memory, sqlite, sqlite:/path/to/file.db or a redis:// URL",
            id="another-store",
        ),
        pytest.param(
            document(session={"store": "memory:/a"}),
            "session.store: must be memory, sqlite, sqlite:/path/to/file.db or a redis:// URL",
            id="memory-with-a-path",
        ),
        pytest.param(
            document(session={"store": "sqlite:sessions.db"}),
            "session.store: must be memory, sqlite, sqlite:/path/to/file.db or a redis:// URL",
            id="sqlite-relative",
        ),
        pytest.param(
            document(session={"cookie": {"domain": "other.example.com"}}),
            "sites[0].url: is not below session.cookie.domain (other.example.com)",
            id="cookie-domain-elsewhere",
        ),
        pytest.param(
            document(
                session={"cookie": {"domain": "example.com"}},
                sites=[site(), site(url="https://b.example.com", provider={"client_id": "other"})],
            ),
            "session.cookie.domain: one cookie holds one login",
            id="cookie-domain-two-clients",
        ),
        pytest.param(
            document(forward_auth={"peers": ["0.0.0.0/0"]}),
            "forward_auth.peers: 0.0.0.0/0 would let anybody say what was asked for",
            id="peers-everybody",
        ),
        pytest.param(
            document(sites=[{"url": "https://*.example.com"}]),
            "sites: one site needs a host of its own",
            id="only-a-wildcard",
        ),
        pytest.param(
            document(sites=[site(), site(url="https://*.example.com")]),
            "sites[1].upstream.url: a site with * has no upstream",
            id="wildcard-with-an-upstream",
        ),
        pytest.param(
            document(sites=[site(), site(url="https://ui.example.com:8443")]),
            "sites[1].url: the same host as another site's: cookies ignore ports",
            id="one-host-two-ports",
        ),
        pytest.param(
            document(sites=[site(provider={"audience": "a"}), site(url="https://b.example.com")]),
            "sites[1].provider.audience: is needed: other sites of this client have one",
            id="an-audience-for-some",
        ),
        pytest.param(
            document(
                sites=[site(provider={"audience": "a", "scopes": ["openid", "audience:server:client_id:b"]})],
            ),
            "sites[0].provider.audience: asks for the token's audience itself",
            id="an-audience-and-its-scope",
        ),
        pytest.param(
            document(sites=[site(kubernetes={"api": "http://k8s.example.com"})]),
            "sites[0].kubernetes.api: sends tokens in clear; use https",
            id="api-in-clear",
        ),
        pytest.param(
            document(sites=[site(access={"may": {"verb": "get", "resource": "pods"}})]),
            "sites[0].access.may: needs kubernetes.api",
            id="may-without-api",
        ),
        pytest.param(
            document(sites=[site(identity="impersonate")]),
            "sites[0].identity: impersonate needs kubernetes.credential_file",
            id="impersonate-without-credential",
        ),
        pytest.param(
            document(sites=[{"url": "https://ui.example.com"}]),
            "sites[0].upstream: this key is needed",
            id="no-upstream",
        ),
        pytest.param(
            document(session={"idle": "2h", "lifetime": "1h"}),
            "session.idle: longer than session.lifetime, so it could never end a session",
            id="idle-beyond-lifetime",
        ),
        pytest.param(
            upstream(server_name="ui"),
            "sites[0].upstream.url: TLS settings are given but the address is not https",
            id="server-name-on-http",
        ),
        pytest.param(
            upstream(ca_file="/ca.pem"),
            "sites[0].upstream.url: TLS settings are given but the address is not https",
            id="ca-on-http",
        ),
        pytest.param(
            upstream(url="unix:/run/ui.sock", insecure_skip_verify=True),
            "sites[0].upstream.url: TLS settings are given but the address is not https",
            id="switch-on-unix",
        ),
        pytest.param(
            upstream(url="https://ui", ca_file="/ca.pem", insecure_skip_verify=True),
            "sites[0].upstream.insecure_skip_verify: ca_file verifies the UI already; remove this switch",
            id="ca-and-no-verification",
        ),
        pytest.param(
            document(provider=SECRET, sites=[site(provider={"client_id": "other"})]),
            "sites[0].provider.client_id: another client needs its own client_secret_file",
            id="own-client-without-secret",
        ),
        pytest.param(
            document(provider=SECRET, sites=[site(provider={"issuer": "https://other.example.com"})]),
            "sites[0].provider.issuer: another issuer needs its own client_secret_file",
            id="own-issuer-without-secret",
        ),
        pytest.param(
            document(sites=[site(provider={"issuer": "http://other.example.com"})]),
            "sites[0].provider.issuer: http is for issuers on this machine only; use https",
            id="own-issuer-by-http",
        ),
        pytest.param(
            document(sites=[site(provider={"scopes": ["email"]})]),
            "sites[0].provider.scopes: openid is needed: without it the issuer gives no ID token",
            id="own-scopes-without-openid",
        ),
    ],
)
def test_refused(given: dict[str, Any], expected: str) -> None:
    """What does not go together is one problem at the right path."""
    (problem,) = problems(given)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(provider(issuer="http://localhost:5556/dex"), id="issuer-on-this-machine"),
        pytest.param(provider(internal_url="http://127.0.0.1:5556"), id="internal-url-on-this-machine"),
        pytest.param(provider(internal_url="http://dex:5556", insecure_internal_http=True), id="internal-http-allowed"),
        pytest.param(provider(internal_url="https://dex.dex.svc"), id="internal-https"),
        pytest.param(provider(proxy="http://u:p@proxy:3128"), id="proxy"),
        pytest.param(document(sites=[site(url="http://localhost:8000")]), id="site-on-this-machine"),
        pytest.param(document(session={"store": "memory"}), id="memory"),
        pytest.param(document(workers=4), id="workers"),
        pytest.param(document(workers="auto"), id="workers-auto"),
        pytest.param(document(session={"store": "sqlite:/var/lib/gate/sessions.db"}), id="sqlite-with-a-path"),
        pytest.param(document(session={"idle": "1h", "lifetime": "1h"}), id="idle-is-lifetime"),
        pytest.param(upstream(url="https://ui", server_name="ui.local"), id="server-name"),
        pytest.param(upstream(url="https://ui", insecure_skip_verify=True), id="no-verification"),
        pytest.param(upstream(url=["http://a", "https://b"], server_name="ui.local"), id="one-of-them-https"),
        pytest.param(document(provider=SECRET, sites=[site(provider={"client_id": "gate"})]), id="the-same-client"),
        pytest.param(
            document(provider=SECRET, sites=[site(provider={"client_id": "other", "client_secret_file": "/b"})]),
            id="own-client-with-secret",
        ),
        pytest.param(document(sites=[site(provider={"client_id": "other"})]), id="own-public-client"),
    ],
)
def test_accepted(given: dict[str, Any]) -> None:
    """What goes together passes."""
    parse_config(given, folder=Path("/"), files=False)


def test_rules_all_at_once() -> None:
    """The rules too tell everything in one go."""
    given = document(
        workers=0,
        provider={"issuer": "http://dex.example.com", "client_id": "c", "scopes": []},
        session={"store": "redis://r", "idle": "2d"},
        sites=[site(url="http://a.example.com"), site(url="http://a.example.com")],
    )
    assert [text.split(":")[0] for text in problems(given)] == [
        "provider.issuer",
        "provider.scopes",
        "workers",
        "sites[1].url",
        "session.keys_file",
        "session.idle",
        "sites[0].url",
        "sites[1].url",
    ]


def effective(general: dict[str, Any], own: dict[str, Any]) -> Any:
    """The provider of a site with these overrides."""
    general = {"issuer": "https://dex.example.com", "client_id": "gate", **general}
    config = Config.model_validate(document(provider=general, sites=[site(provider=own)]))
    return effective_provider(config, config.sites[0])


def test_override() -> None:
    """A site's provider is the general one but for what it says itself."""
    found = effective({"leeway": "30s", "audiences": ["a"]}, {"client_id": "other", "scopes": ["openid"]})
    assert found.client_id == "other"
    assert found.scopes == ("openid",)
    assert found.leeway == 30.0
    assert found.audiences == ("a",)


def test_override_of_the_secret() -> None:
    """A site's own secret replaces the general one, also when it comes another way."""
    found = effective({"client_secret_file": "/a"}, {"client_secret_env": "OTHER"})
    assert (found.client_secret_file, found.client_secret_env) == (None, "OTHER")


def test_override_of_the_issuer() -> None:
    """The internal way to one issuer is not taken to another."""
    general = {"internal_url": "https://dex.svc"}
    assert effective(general, {"client_id": "other"}).internal_url == "https://dex.svc"
    assert effective(general, {"issuer": "https://dex.example.com"}).internal_url == "https://dex.svc"
    assert effective(general, {"issuer": "https://other.example.com"}).internal_url is None
    own = {"issuer": "https://other.example.com", "internal_url": "https://other.svc"}
    assert effective(general, own).internal_url == "https://other.svc"


# Files.


def test_files_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good files of every kind pass."""
    key, certificate = key_and_certificate()
    private(tmp_path / "tls.key", pem(key))
    (tmp_path / "tls.crt").write_bytes(certificate)
    private(tmp_path / "secret")
    private(tmp_path / "keys")
    (tmp_path / "logo").write_bytes(PNG)
    monkeypatch.setenv("OTHER_SECRET", "x")
    given = document(
        tls={"cert_file": "tls.crt", "key_file": "tls.key"},
        provider=SECRET | {"client_secret_file": "secret", "ca_file": "tls.crt"},
        session={"keys_file": "keys"},
        look={"logo_file": "logo"},
        sites=[
            site(
                upstream={"url": "https://ui", "ca_file": "tls.crt"},
                provider={"client_id": "other", "client_secret_env": "OTHER_SECRET"},
            )
        ],
    )
    parse_config(given, folder=tmp_path)


def test_files_unreadable_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is missing is named at its key."""
    monkeypatch.delenv("OTHER_SECRET", raising=False)
    given = document(
        tls={"cert_file": "tls.crt", "key_file": "tls.key"},
        provider=SECRET | {"client_secret_file": "secret", "ca_file": "ca.pem"},
        session={"keys_file": "keys"},
        look={"logo_file": "logo.png"},
        sites=[
            site(
                upstream={"url": "https://ui", "ca_file": "ui.pem"},
                provider={"client_id": "other", "client_secret_env": "OTHER_SECRET", "ca_file": "other.pem"},
            )
        ],
    )
    missing = "No such file or directory"
    assert problems(given, tmp_path, files=True) == [
        f"provider.ca_file: {tmp_path}/ca.pem is no readable CA bundle: {missing}",
        f"provider.client_secret_file: {tmp_path}/secret cannot be read: {missing}",
        f"tls.key_file: {tmp_path}/tls.key cannot be read: {missing}",
        f"session.keys_file: {tmp_path}/keys cannot be read: {missing}",
        f"look.logo_file: {tmp_path}/logo.png cannot be read: {missing}",
        f"sites[0].upstream.ca_file: {tmp_path}/ui.pem is no readable CA bundle: {missing}",
        f"sites[0].provider.ca_file: {tmp_path}/other.pem is no readable CA bundle: {missing}",
        "sites[0].provider.client_secret_env: the environment variable OTHER_SECRET is not set",
    ]


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        pytest.param(b"s3cret", 0o644, "can be read by everybody on this machine", id="world-readable"),
        pytest.param(b"\n", 0o600, "is empty", id="empty"),
        pytest.param(b"\xff\xfe", 0o600, "is not text", id="not-text"),
    ],
)
def test_secret_file(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    """A client secret's file is looked at as it will be at a login."""
    private(tmp_path / "secret", content).chmod(mode)
    (problem,) = problems(document(provider=SECRET | {"client_secret_file": "secret"}), tmp_path, files=True)
    assert problem.startswith("provider.client_secret_file: ")
    assert message in problem


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        pytest.param(b"key", 0o604, "can be read by everybody on this machine", id="world-readable"),
        pytest.param(b" \n", 0o600, "is empty", id="empty"),
    ],
)
def test_keys_file(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    """A keys file is held to the same rules."""
    private(tmp_path / "keys", content).chmod(mode)
    (problem,) = problems(document(session={"keys_file": "keys"}), tmp_path, files=True)
    assert problem.startswith("session.keys_file: ")
    assert message in problem


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nxx\n"])
def test_garbage_ca(tmp_path: Path, content: bytes) -> None:
    """A CA file without a certificate says so."""
    (tmp_path / "ca.pem").write_bytes(content)
    (problem,) = problems(provider(ca_file="ca.pem"), tmp_path, files=True)
    assert problem.startswith(f"provider.ca_file: {tmp_path}/ca.pem is no readable CA bundle: ")


def test_ca_is_a_folder(tmp_path: Path) -> None:
    """A folder, or an empty name that means one, is no CA bundle."""
    for name in ("ca", ""):
        (tmp_path / name).mkdir(exist_ok=True)
        (problem,) = problems(provider(ca_file=name), tmp_path, files=True)
        assert "is no readable CA bundle" in problem


def tls_problems(folder: Path, *, key: bytes, certificate: bytes, mode: int = 0o600) -> list[str]:
    """Everything wrong with a configuration that has this key and certificate."""
    private(folder / "tls.key", key).chmod(mode)
    (folder / "tls.crt").write_bytes(certificate)
    return problems(document(tls={"cert_file": "tls.crt", "key_file": "tls.key"}), folder, files=True)


def test_certificate_of_another_key(tmp_path: Path) -> None:
    """A key and a certificate that do not belong together are found before a browser does."""
    (problem,) = tls_problems(tmp_path, key=pem(key_and_certificate()[0]), certificate=key_and_certificate()[1])
    assert problem.startswith(f"tls.cert_file: {tmp_path}/tls.crt and {tmp_path}/tls.key do not load: ")
    assert "mismatch" in problem.lower()


def test_garbage_certificate(tmp_path: Path) -> None:
    """A certificate file without one says so."""
    (problem,) = tls_problems(tmp_path, key=pem(key_and_certificate()[0]), certificate=b"nothing")
    assert problem.startswith("tls.cert_file: ")


def test_world_readable_key(tmp_path: Path) -> None:
    """A TLS key that everybody can read is refused."""
    key, certificate = key_and_certificate()
    (problem,) = tls_problems(tmp_path, key=pem(key), certificate=certificate, mode=0o644)
    assert problem.startswith("tls.key_file: ")
    assert "everybody" in problem


def test_key_with_a_passphrase(tmp_path: Path) -> None:
    """A key under a passphrase is refused; nobody is asked for it on a terminal."""
    key, certificate = key_and_certificate()
    found = tls_problems(tmp_path, key=pem(key, b"geheim"), certificate=certificate)
    assert found == ["tls.key_file: the key asks for a passphrase; give one without"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://h?password_file=/nowhere", "/nowhere cannot be read: No such file or directory"),
        ("redis://h?password_env=NO_SUCH_NAME", "the environment variable NO_SUCH_NAME is not set"),
        ("redis+sentinel://h/m?sentinel_password_file=/none", "/none cannot be read: No such file or directory"),
        ("rediss://h?ca_file=/nowhere", "/nowhere is no readable CA bundle: No such file or directory"),
    ],
)
def test_files_of_redis(tmp_path: Path, url: str, message: str) -> None:
    """A password or CA that is missing is told before anybody waits for Redis."""
    (tmp_path / "keys").touch(0o600)
    (tmp_path / "keys").write_text("a key")
    session = {"store": url, "keys_file": "keys"}
    assert problems(document(session=session), tmp_path, files=True) == [f"session.store: {message}"]


def test_files_not_looked_at(tmp_path: Path) -> None:
    """Without ``files`` nothing is opened."""
    parse_config(provider(client_secret_file="none", ca_file="none"), folder=tmp_path, files=False)
