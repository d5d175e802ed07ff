"""The doctor on its way from the browser's address to the UI: all good, and with one thing broken at a time."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from oidcgate.demo.issuer import Client
from oidcgate.demo.issuer_model import DEVICE_CALLBACK
from oidcgate.demo.issuer_tokens import Grant
from oidcgate.doctor.calls import Caller
from oidcgate.doctor.device import Terminal
from oidcgate.doctor.plan import make_plan
from oidcgate.doctor.report import Finding
from oidcgate.doctor.scene import make_scene
from oidcgate.doctor.walk import walk
from oidcgate.kube.reviews import SELF_PATH
from tests.cli.support import ran
from tests.doctor import breaking as b
from tests.doctor.certificates import issued
from tests.doctor.course import AUDIENCE, HOST, Course, failing, statuses
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.lab import PREFIX, running_lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.apiserver import CREDENTIAL
from tests.support.stack import CLIENT, Stack


@pytest.fixture
async def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Course]:
    """Everything with TLS, and good."""
    async with Course(tmp_path, monkeypatch) as running:
        yield running


HOPS = [
    "configuration",
    "name",
    "connection",
    "gate",
    "issuer",
    "discovery",
    "keys",
    "client",
    "secret",
    "clock",
    "audience",
    "token",
    "api-server",
    "api-identity",
    "ui",
    "ui-identity",
    "cookie",
    "store",
    "keyring",
    "forward-auth",
]


async def test_all_is_well(course: Course) -> None:
    """Every hop holds, in the order of a request's way, and each was looked at."""
    findings = await course.walk()
    assert list(statuses(findings)) == HOPS
    assert {finding.status for finding in findings} == {"ok"}
    assert course.cluster.calls == {SELF_PATH: 1}


ISSUER = "provider.issuer"
URL = "sites[0].url"
UI = "sites[0].upstream"
CLUSTER = "sites[0].kubernetes"

BROKEN = [
    # what is broken, the hop that is named, the key, words of the remedy
    pytest.param(b.no_such_name, "name", URL, "DNS record", id="name"),
    pytest.param(b.gate_stopped, "connection", "listen", "oidcgate serve", id="gate-stopped"),
    pytest.param(
        b.gate_certificate("gate2", days=-1), "connection", "tls.cert_file", "renew the certificate", id="expired"
    ),
    pytest.param(
        b.gate_certificate("gate3", ("x.example.com",)), "connection", "tls.cert_file", "certificate for", id="mismatch"
    ),
    pytest.param(
        b.gate_certificate("gate4", trusted=False), "connection", "tls.cert_file", "SSL_CERT_FILE", id="untrusted"
    ),
    pytest.param(b.somebody_else(200, {"Server": "nginx"}), "gate", URL, "route https://", id="somebody-else"),
    pytest.param(
        b.somebody_else(502, {"Server": "nginx"}), "gate", "listen", "start the gate", id="no-way-to-the-gate"
    ),
    pytest.param(b.other_site, "gate", URL, "SIGHUP", id="another-configuration"),
    pytest.param(b.issuer_stopped, "issuer", ISSUER, "start the issuer", id="issuer-stopped"),
    pytest.param(
        b.setting("provider.issuer", f"https://{b.NOWHERE}/dex"), "issuer", ISSUER, "correct the host", id="issuer-name"
    ),
    pytest.param(b.setting("provider.ca_file", None), "issuer", "provider.ca_file", "name a file", id="issuer-ca"),
    pytest.param(
        b.certificate_of("issuer", days=-1), "issuer", "the issuer: its certificate", "renew", id="issuer-expired"
    ),
    pytest.param(
        b.certificate_of("issuer", hosts=("dex.example.com",)), "issuer", ISSUER, "host name", id="issuer-mismatch"
    ),
    pytest.param(b.quirk(fail={"discovery": 404}), "discovery", ISSUER, "its path", id="discovery-404"),
    pytest.param(b.quirk(fail={"discovery": 503}), "discovery", "Dex: its process", "log", id="discovery-503"),
    pytest.param(
        b.quirk(discovery=b.named({"issuer": "https://dex.example.com"})),
        "discovery",
        ISSUER,
        "letter",
        id="other-issuer",
    ),
    pytest.param(
        b.quirk(discovery=b.named({"token_endpoint": "https://dex.example.com/token"})),
        "discovery",
        "provider.endpoint_hosts",
        "add that host",
        id="endpoint-elsewhere",
    ),
    pytest.param(b.quirk(discovery=lambda _: b"<html>"), "discovery", ISSUER, "own address", id="no-document"),
    pytest.param(b.quirk(fail={"keys": 500}), "keys", "Dex: its keys", "log", id="keys-500"),
    pytest.param(b.quirk(jwks=lambda _: b"{}"), "keys", "Dex: its keys", "log", id="no-keyset"),
    pytest.param(
        b.setting("provider.algorithms", ["ES256"]), "keys", "provider.algorithms", "add RS256", id="algorithm"
    ),
    pytest.param(b.setting("provider.client_id", "gaet"), "client", "provider.client_id", "staticClients", id="client"),
    pytest.param(
        b.client(redirect_uris=("https://old.example.com/oauth2/callback",)),
        "client",
        "Dex: staticClients.redirectURIs",
        "/oauth2/callback",
        id="redirect-uri",
    ),
    pytest.param(
        b.setting("provider.scopes", ["openid", "groups", "offline_access", "teams"]),
        "client",
        "provider.scopes",
        "leave out",
        id="scope",
    ),
    pytest.param(b.client(secret="another"), "secret", "provider.client_secret_file", "staticClients", id="secret"),
    pytest.param(
        b.setting("provider.client_secret_file", None), "secret", "provider.client_secret_file", "give", id="no-secret"
    ),
    pytest.param(
        b.no_trusted_peer,
        "audience",
        f"Dex: staticClients (id: {AUDIENCE}).trustedPeers",
        "add gate",
        id="trusted-peers",
    ),
    pytest.param(b.own_clock, "clock", "clock: this machine", "NTP", id="own-clock"),
    pytest.param(b.clock_of_cluster, "clock", "clock: the API server", "NTP", id="clock-of-cluster"),
    pytest.param(b.token(b.expired), "token", "token: exp", "fresh", id="token-expired"),
    pytest.param(b.token(b.of_another_client), "token", "provider.client_id", "a token for gate", id="token-audience"),
    pytest.param(b.token(lambda _: "a.b"), "token", "token: id_token", "ID token", id="no-token"),
    pytest.param(
        b.token(Course.token, lambda document: b.put(document, "provider.max_token_life", "1h")),
        "token",
        "provider.max_token_life",
        "raise it",
        id="token-life",
    ),
    pytest.param(b.cluster_stopped, "api-server", f"{CLUSTER}.api", "start the API server", id="cluster-stopped"),
    pytest.param(
        b.setting("sites.0.kubernetes.ca_file", None), "api-server", f"{CLUSTER}.ca_file", "the CA", id="cluster-ca"
    ),
    pytest.param(
        b.certificate_of("cluster", hosts=("kubernetes.default.svc",)),
        "api-server",
        f"{CLUSTER}.server_name",
        "kubernetes.default.svc",
        id="cluster-mismatch",
    ),
    pytest.param(b.no_api_server, "api-server", f"{CLUSTER}.api", "API server", id="no-api-server"),
    pytest.param(
        b.unknown_audience, "api-identity", "kube-apiserver: --oidc-client-id, ", "audience", id="cluster-audience"
    ),
    pytest.param(
        b.explained_audience,
        "api-identity",
        "kube-apiserver: --oidc-client-id",
        f"--oidc-client-id={AUDIENCE}",
        id="cluster-audience-explained",
    ),
    pytest.param(b.tokens_dropped, "api-identity", f"{CLUSTER}.api", "kubernetes.default.svc", id="anonymous"),
    pytest.param(
        b.impersonating("nobody's"), "credential", f"{CLUSTER}.credential_file", "that it takes", id="credential"
    ),
    pytest.param(b.garbled(), "api-identity", f"{CLUSTER}.api", "log", id="garbled"),
    pytest.param(
        b.garbled(b.impersonating(CREDENTIAL)), "credential", f"{CLUSTER}.api", "log", id="garbled-credential"
    ),
    pytest.param(b.ui_stopped, "ui", f"{UI}.url", "start the UI", id="ui-stopped"),
    pytest.param(b.ui_without_tls, "ui", f"{UI}.url", "http://", id="ui-without-tls"),
    pytest.param(b.ui_with_tls, "ui", f"{UI}.url", "https://", id="ui-with-tls"),
    pytest.param(b.setting("sites.0.upstream.ca_file", None), "ui", f"{UI}.ca_file", "the CA", id="ui-ca"),
    pytest.param(
        b.certificate_of("ui", alone=True, hosts=("dashboard.svc",)),
        "ui",
        f"{UI}.ca_file",
        "server_name: dashboard.svc",
        id="ui-self-signed",
    ),
    pytest.param(
        b.certificate_of("ui", hosts=("dashboard.svc",)), "ui", f"{UI}.server_name", "dashboard.svc", id="ui-mismatch"
    ),
    pytest.param(b.ignores_bearer, "ui", f"{UI}.url", "HTTPS port", id="ui-ignores-bearer"),
    pytest.param(
        b.ui_of_another_cluster,
        "ui-identity",
        "kube-apiserver: its OIDC settings",
        "issuer",
        id="ui-of-another-cluster",
    ),
    pytest.param(b.mixed_schemes, "cookie", "session.cookie.domain", "https", id="cookie"),
    pytest.param(b.broken_store, "store", "session.state_dir", "read and write", id="store"),
    pytest.param(b.no_redis, "store", "session.store", "start it", id="redis"),
    pytest.param(b.broken_keys, "keyring", "session.state_dir", "put back", id="keyring"),
]


@pytest.mark.parametrize(("breaking", "hop", "key", "words"), BROKEN)
async def test_one_thing_broken(course: Course, breaking: b.Break, hop: str, key: str, words: str) -> None:
    """Exactly one hop fails, with its key and what to do; what stands on it is skipped and says so."""
    broken = await breaking(course)
    findings = await course.walk(broken.change, **broken.options)
    (finding,) = failing(findings)
    assert finding.hop == hop, findings
    assert finding.key.startswith(key), finding
    assert words in finding.fix, finding
    skipped = [each for each in findings if each.status == "skip"]
    assert all(hop in each.message for each in skipped), skipped


async def test_hops_that_can_fail() -> None:
    """Each hop has been broken; the rest can only warn."""
    assert set(HOPS) - {"credential"} - {case.values[1] for case in BROKEN} == {"configuration", "forward-auth"}


async def test_impersonation(course: Course) -> None:
    """The gate's own credential is asked about, and nobody's token is sent."""
    broken = await b.impersonating(CREDENTIAL)(course)
    findings = await course.walk(broken.change, token=None)
    assert statuses(findings)["credential"] == ["ok"]
    assert "api-identity" not in statuses(findings)
    assert course.cluster.headers[0]["Impersonate-User"] == "oidcgate-doctor"


async def test_without_a_token(course: Course) -> None:
    """What needs one is skipped, with how to give one; nothing fails."""
    findings = await course.walk(token=None)
    skipped = {finding.hop: finding.message for finding in findings if finding.status == "skip"}
    assert list(skipped) == ["token", "api-identity", "ui-identity"]
    assert "--token-file" in skipped["token"]
    assert "--login" in skipped["token"]
    assert failing(findings) == []


class Silent(Caller):
    """Calls nobody."""

    async def resolve(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    call = reach = resolve


async def test_offline(course: Course) -> None:
    """No server is asked; what needs none is looked at."""
    findings = await course.walk(offline=True, caller=Silent())
    looked_at = [finding.hop for finding in findings if finding.status != "skip"]
    assert looked_at == ["configuration", "cookie", "store", "keyring", "forward-auth"]


def signing_in(course: Course) -> Terminal:
    """Somebody who reads the address and signs in there."""
    shown: list[str] = []

    async def wait(_: float) -> None:
        await course.sign_in(shown[0].split()[1])

    return Terminal(shown.append, wait)


async def test_sign_in(course: Course) -> None:
    """The device flow: somebody signs in elsewhere, and the cluster says who that is; no session of theirs ends."""
    course.issuer.add_client(Client(CLIENT, None, (f"{course.url}/oauth2/callback", DEVICE_CALLBACK)))
    course.issuer.refresh_tokens.issue(course.grant())
    before = len(course.issuer.refresh_tokens._records)
    findings = await course.walk(
        lambda document: b.put(document, "provider.client_secret_file", None), token=None, terminal=signing_in(course)
    )
    assert {finding.status for finding in findings} == {"ok"}, findings
    assert "alice@example.com" in next(f.message for f in findings if f.hop == "api-identity")
    assert len(course.issuer.refresh_tokens._records) == before


async def test_sign_in_as_with_kubectl(course: Course) -> None:
    """Where the gate's client has a secret, the one for kubectl signs in: Dex would show the secret to the browser."""
    findings = await course.walk(token=None, terminal=signing_in(course))
    assert "kubectl.client_id" in next(f.message for f in findings if f.hop == "token")
    course.issuer.add_client(Client("kubectl", None, ()))
    course.cluster.audience = "kubectl"

    def change(document: dict[str, Any]) -> None:
        b.put(document, "sites.0.kubectl.client_id", "kubectl")
        b.put(document, "sites.0.upstream.ui", "plain")

    findings = await course.walk(change, token=None, terminal=signing_in(course))
    assert {finding.status for finding in findings} == {"ok"}, findings
    assert "kubectl's" in next(f.message for f in findings if f.hop == "token")
    foreign = course.token(client="kubectl", audiences=())[:-4] + "AAAA"
    (finding,) = failing(await course.walk(change, token=foreign))
    assert finding.hop == "token"


async def test_tokens_for_several_clusters_are_kept_from_each(course: Course) -> None:
    """A login's own token opens them all, so no cluster sees it."""
    course.issuer.add_client(Client("cluster-two", "x", (), trusted_peers=(CLIENT,)))

    def change(document: dict[str, Any]) -> None:
        second = {**document["sites"][0], "url": f"https://two.{HOST}:{course.port}"}
        document["sites"].append({**second, "provider": {"audience": "cluster-two"}})

    raw = course.token(audiences=(AUDIENCE, "cluster-two"))
    findings = await course.walk(change, token=raw)
    identities = [finding for finding in findings if finding.hop in ("api-identity", "ui-identity")]
    assert {finding.status for finding in identities} == {"skip"}
    assert "--site" in identities[0].message
    assert not course.cluster.calls


async def test_host_below_a_wildcard(course: Course) -> None:
    """A site that is every host below a domain is walked for the host that is named."""
    await course.stop_gate()
    course.certificates["gate"] = issued(course.folder, "wide", (HOST, f"*.{HOST}"))
    course.monkeypatch.setenv("SSL_CERT_FILE", str(course.certificates["gate"].ca))

    def change(document: dict[str, Any]) -> None:
        document["sites"].append({"url": f"https://*.{HOST}:{course.port}", "provider": {"audience": AUDIENCE}})
        document["forward_auth"] = {"peers": ["127.0.0.1"]}

    await course.start_gate(change)
    findings = await course.walk(change, site=f"https://new.{HOST}:{course.port}")
    assert failing(findings) == []
    assert ("gate", f"https://new.{HOST}:{course.port}", "ok") in [(f.hop, f.site, f.status) for f in findings]
    findings = await course.walk(change)
    assert "--site" in next(f.message for f in findings if f.hop == "name" and f.status == "skip")


async def test_as_a_program(course: Course) -> None:
    """Lines for people with the place in the file, a list for programs, and the exit code."""
    token = course.folder / "token"
    token.write_text(course.token() + "\n")
    code, output, errors = await ran("doctor", "--config", course.file(), "--token-file", token)
    assert (code, errors) == (0, "")
    assert "23 good" in output
    assert "\033" not in output
    assert token.read_text().strip() not in output
    path = course.file(lambda document: b.put(document, "provider.issuer", document["provider"]["issuer"] + "/"))
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "issuer:" in text)
    code, output, errors = await ran("doctor", "--config", path)
    assert (code, errors) == (1, "")
    assert f"at   gate.yaml:{line}: provider.issuer\n" in output
    assert "1 failed" in output
    code, output, _ = await ran("doctor", "--config", path, "--json")
    assert code == 1
    (finding,) = [each for each in json.loads(output) if each["status"] == "fail"]
    assert list(finding) == ["hop", "site", "status", "message", "key", "fix"]
    assert finding["key"] == "provider.issuer"


async def walked(stack: Stack, token: str) -> list[Finding]:
    """What the doctor finds of a stack, with a token."""
    scene = make_scene(stack.configuration(), Caller(), raw=token)
    try:
        return await walk(make_plan(scene, Terminal(print)))
    finally:
        await scene.close()


@pytest.mark.real
@pytest.mark.timeout(BUILD_LIMIT)
async def test_real_api_server(tmp_path: Path) -> None:
    """It says who alice is to it; a token for somebody else it refuses, and the flag that decides is named."""
    own = tmp_path / "credential"
    own.touch(0o600)
    own.write_text(ADMIN)
    known = {"credential_file": str(own), "username_prefix": PREFIX, "groups_prefix": PREFIX}
    async with running_lab(audiences=(AUDIENCE,)) as lab:
        lab.issuer.add_client(Client(AUDIENCE, "x", (), trusted_peers=(CLIENT,)))
        cluster = {"api": lab.cluster.url, "ca_file": lab.cluster.ca_file, **known}
        async with lab.stack(site={"kubernetes": cluster, "provider": {"audience": AUDIENCE}}) as stack:
            scopes = ("openid", "email", "groups", f"audience:server:client_id:{AUDIENCE}")
            grant = Grant(CLIENT, lab.issuer.people["alice"], scopes, "nonce")
            findings = await walked(stack, lab.issuer.token_set(grant)["id_token"])
            assert failing(findings) == []
            said = [finding for finding in findings if finding.hop == "api-identity"]
            assert [finding.status for finding in said] == ["ok"]
            assert "oidc:alice@example.com in oidc:platform-admins" in said[0].message
        async with lab.stack(site={"kubernetes": cluster}) as stack:
            (finding,) = failing(await walked(stack, lab.issuer.id_token("alice")))
            assert (finding.hop, finding.key) == ("api-identity", "kube-apiserver: --oidc-client-id")
            assert AUDIENCE in finding.message
