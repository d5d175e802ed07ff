"""Local development by Compose: the file as Compose reads it, and everything in it that has to agree."""

import ctypes
import ctypes.util
import datetime
import importlib.util
import os
import re
import shlex
import socket
import ssl
import subprocess
import sys
import threading
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from oidcgate import __version__
from tests.deploy.containers.programs import compose_project
from tests.deploy.manifests import Document, as_stream, check, documents, named, validate
from tests.docs.pages import shell_commands
from tests.lab.kube.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/compose"
FILE = FOLDER / "docker-compose.yaml"
CLIENT, ISSUER = "oidcgate", "https://dex.localhost:5556/dex"
NEVER = {"cap_drop": ["ALL"], "read_only": True, "security_opt": ["no-new-privileges:true"]}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The project as Compose understands it."""
    return compose_project(FILE)


@pytest.fixture(scope="module")
def gate() -> dict[str, Any]:
    """The gate's configuration."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "config.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def dex() -> dict[str, Any]:
    """Dex's configuration."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "dex.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def flags(project: dict[str, Any]) -> dict[str, str]:
    """The API server's flags."""
    words = [word.removeprefix("--kube-apiserver-arg=") for word in project["services"]["cluster"]["command"]]
    return dict(word.split("=", 1) for word in words if word.startswith("oidc-"))


@pytest.fixture(scope="module")
def cluster_documents() -> list[Document]:
    """What k3s applies."""
    return documents((FOLDER / "cluster.yaml").read_text())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What the setup container makes, by its own command."""
    for name in ("gate", "dex", "cluster"):
        (tmp_path / name).mkdir()
    set_up(tmp_path)
    return tmp_path


def set_up(folder: Path) -> str:
    """One run of setup.py, for users that are all oneself; what it says."""
    me = str(os.getuid())
    command = [sys.executable, "-I", FOLDER / "setup.py", "--folder", folder, "--gate", me, "--dex", me]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def mounts(project: dict[str, Any], service: str) -> dict[str, str]:
    """Volume or file by its place in a container."""
    return {each["target"]: each["source"] for each in project["services"][service]["volumes"]}


# The file.


def test_compose_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """A misspelt key would not pass: what reads the file holds it to the specification's schema."""
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(FILE.read_text().replace("stop_grace_period", "stop_grace_periods"))
    with pytest.raises(ValueError, match="stop_grace_periods"):
        compose_project(wrong)


def test_nothing_is_reachable_from_outside(project: dict[str, Any]) -> None:
    """Every published port is bound to loopback: the people's passwords are known to everybody."""
    ports = {name: each["ports"] for name, each in project["services"].items() if "ports" in each}
    assert sorted(ports) == ["dex", "gate"]
    assert {port["host_ip"] for each in ports.values() for port in each} == {"127.0.0.1"}


def test_containers_are_confined(project: dict[str, Any]) -> None:
    """All but the cluster, whose kubelet needs the machine, have a read-only root and no capability to speak of."""
    services = project["services"]
    assert [name for name, each in services.items() if each.get("privileged")] == ["cluster"]
    for name in ("gate", "dex", "setup"):
        assert {key: services[name].get(key) for key in NEVER} == NEVER, name
    assert [each.get("cap_add", []) for each in (services["gate"], services["dex"])] == [[], []]
    assert services["setup"]["network_mode"] == "none"


def test_images_are_pinned(project: dict[str, Any]) -> None:
    """Each has a version; the gate's is this one, built from this repository."""
    services = project["services"]
    images = {name: each["image"] for name, each in services.items()}
    assert images["gate"] == images["setup"] == f"ghcr.io/oidcgate/oidcgate:{__version__}"
    assert [image for image in images.values() if not re.search(r":v?\d+\.\d+\.\d+(-k3s\d)?$", image)] == []
    build = services["gate"]["build"]
    assert Path(build["context"], build["dockerfile"]).samefile(FOLDER.parent / "Dockerfile")


def test_every_file_is_there(project: dict[str, Any]) -> None:
    """What is bound into containers is in the repository, and read-only."""
    bound = [v for each in project["services"].values() for v in each["volumes"] if v["type"] == "bind"]
    assert {Path(each["source"]).name for each in bound} == {"setup.py", "dex.yaml", "cluster.yaml", "config.yaml"}
    assert [each for each in bound if not Path(each["source"]).is_file() or not each["read_only"]] == []


def test_commands_of_the_page(project: dict[str, Any], made: Path) -> None:
    """Those of docs/docker.md name this file, services that it has, and files that are there."""
    found = [shlex.split(c) for c in shell_commands("docs/docker.md") if c.startswith("docker compose ")]
    assert [words[4] for words in found] == ["up", "exec", "exec", "ps", "down"]
    assert {Path(words[3]) for words in found} == {FILE.relative_to(ROOT)}
    certificate, pods = (words[5:] for words in found[1:3])
    assert certificate[:4] == ["-T", "gate", "cat", "/run/secrets/oidcgate/ca.crt"]
    assert (made / mounts(project, "gate")["/run/secrets/oidcgate"].removeprefix("for-") / "ca.crt").exists()
    assert pods[0] in project["services"]
    assert f"docker compose -f {found[0][3]} up" in FILE.read_text()


# What has to agree.


def test_the_issuer_has_one_name(
    project: dict[str, Any], gate: dict[str, Any], dex: dict[str, Any], flags: dict[str, str]
) -> None:
    """Browser, gate and API server call Dex by the same URL, at the same port, inside and outside."""
    assert {gate["provider"]["issuer"], dex["issuer"], flags["oidc-issuer-url"]} == {ISSUER}
    service = project["services"]["dex"]
    assert service["networks"]["default"]["aliases"] == [urlsplit(ISSUER).hostname]
    (port,) = service["ports"]
    listens = int(dex["web"]["https"].rpartition(":")[2])
    assert int(port["published"]) == port["target"] == listens == urlsplit(ISSUER).port
    assert urlsplit(ISSUER).hostname == load_setup().ISSUER_HOST


def test_the_client_is_one(gate: dict[str, Any], dex: dict[str, Any], flags: dict[str, str]) -> None:
    """Dex knows the gate's client and where its logins come back to; the API server takes its tokens."""
    (client,) = dex["staticClients"]
    assert {gate["provider"]["client_id"], client["id"], flags["oidc-client-id"]} == {CLIENT}
    assert client["redirectURIs"] == [f"{site['url']}/oauth2/callback" for site in gate["sites"]]
    assert dex["expiry"]["refreshTokens"]["reuseInterval"] == "30s"


def test_the_gate_is_where_browsers_look(project: dict[str, Any], gate: dict[str, Any]) -> None:
    """The port that is published is the one in the site's address and the one that the gate listens on."""
    (port,) = project["services"]["gate"]["ports"]
    (site,) = gate["sites"]
    assert int(port["published"]) == urlsplit(site["url"]).port
    assert gate["listen"] == [f"0.0.0.0:{port['target']}"]
    assert urlsplit(site["url"]).hostname.endswith(".localhost")


def test_the_ui_is_where_the_gate_looks(
    project: dict[str, Any], gate: dict[str, Any], cluster_documents: list[Document]
) -> None:
    """The upstream is the node port of Headlamp's service in the cluster's container."""
    (site,) = gate["sites"]
    service = named(cluster_documents, "Service", "headlamp")
    upstream = urlsplit(site["upstream"]["url"])
    assert (upstream.hostname, upstream.port) == ("cluster", service["spec"]["ports"][0]["nodePort"])
    assert upstream.hostname in project["services"]
    pod = named(cluster_documents, "Deployment", "headlamp")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_rights_are_those_of_the_people(
    dex: dict[str, Any], flags: dict[str, str], cluster_documents: list[Document]
) -> None:
    """Every group of Dex's people is bound, by the name that the API server gives it, and no other is."""
    kinds = ("ClusterRoleBinding", "RoleBinding")
    bound = {s["name"] for each in cluster_documents if each["kind"] in kinds for s in each["subjects"]}
    groups = {group for person in dex["staticPasswords"] for group in person.get("groups", [])}
    assert bound == {flags["oidc-groups-prefix"] + group for group in groups}
    assert (flags["oidc-username-claim"], flags["oidc-groups-claim"]) == ("email", "groups")


def test_passwords_are_as_written(dex: dict[str, Any]) -> None:
    """Who follows the comments can sign in; crypt(3) says that the hashes are theirs."""
    crypt = ctypes.CDLL(ctypes.util.find_library("crypt"))
    crypt.crypt.restype = ctypes.c_char_p
    said = dict(re.findall(r"email: (\S+)  # password: (\S+);", (FOLDER / "dex.yaml").read_text()))
    assert sorted(said) == [person["email"] for person in dex["staticPasswords"]]
    for person in dex["staticPasswords"]:
        assert crypt.crypt(said[person["email"]].encode(), person["hash"].encode()).decode() == person["hash"]
        assert person["email"] in FILE.read_text()
        assert said[person["email"]] in FILE.read_text()


# What is made at the first start.


def test_each_program_finds_its_files(
    project: dict[str, Any], gate: dict[str, Any], dex: dict[str, Any], flags: dict[str, str], made: Path
) -> None:
    """Every path that a configuration names is one that the setup fills, in the volume mounted there."""
    setup = {volume: place.removeprefix("/made/") for place, volume in mounts(project, "setup").items()}
    wanted = {
        "gate": [gate["provider"]["client_secret_file"], gate["provider"]["ca_file"]],
        "dex": [dex["web"]["tlsCert"], dex["web"]["tlsKey"], "/run/dex/client-secret"],
        "cluster": [flags["oidc-ca-file"]],
    }
    for service, paths in wanted.items():
        places = mounts(project, service)
        for path in paths:
            folder, _, name = path.rpartition("/")
            assert (made / setup[places[folder]] / name).is_file(), path
    assert gate["session"]["state_dir"] in mounts(project, "gate")
    assert str(Path(dex["storage"]["config"]["file"]).parent) in mounts(project, "dex")


def test_secrets_are_their_readers_alone(made: Path) -> None:
    """Nothing but certificates can be read by others, and both sides have the same secret."""
    modes = {str(path.relative_to(made)): path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()}
    public = {"gate/ca.crt", "cluster/ca.crt", "dex/tls.crt"}
    assert modes == {name: 0o444 if name in public else 0o400 for name in load_setup().FILES}
    secret = (made / "gate/client-secret").read_text()
    assert secret == (made / "dex/client-secret").read_text()
    assert len(secret) >= 43


def test_the_owners_are_the_images_users(project: dict[str, Any]) -> None:
    """The gate's number is its image's; Dex's is the one that its image makes."""
    words = project["services"]["setup"]["command"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert f"USER {given['--gate']}:{given['--gate']}" in (FOLDER.parent / "Dockerfile").read_text()
    assert (given["--dex"], given["--folder"]) == ("1001", "/made")


def test_a_second_start_changes_nothing(made: Path) -> None:
    """What is there and good stays; what is missing makes everything anew."""
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert "everything is there" in set_up(made)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    (made / "dex/tls.key").unlink()
    assert "made the client secret" in set_up(made)
    assert (made / "gate/client-secret").read_bytes() != before[made / "gate/client-secret"]


def test_an_old_certificate_is_replaced(made: Path) -> None:
    """In its last month it is no longer good enough."""
    setup = load_setup()
    now = datetime.datetime.now(datetime.UTC)
    assert setup.is_good(made, now + datetime.timedelta(days=300))
    assert not setup.is_good(made, now + datetime.timedelta(days=340))


def test_the_certificate_serves_the_issuer_s_name(made: Path) -> None:
    """A client that believes the authority takes it for dex.localhost, and for nobody else."""
    assert handshake(made, "dex.localhost") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made, "headlamp.localhost")


def handshake(made: Path, name: str) -> str | None:
    """The version that client and server agree on."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(made / "dex/tls.crt", made / "dex/tls.key")
    client = ssl.create_default_context(cafile=made / "gate/ca.crt")
    near, far = socket.socketpair()

    def serve() -> None:
        with far:
            try:
                server.wrap_socket(far, server_side=True).close()
            except (ssl.SSLError, OSError):
                return  # the client said no

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with near, client.wrap_socket(near, server_hostname=name) as wrapped:
            return wrapped.version()
    finally:
        thread.join()


def test_the_authority_can_do_no_harm(made: Path) -> None:
    """It may sign for the issuer's name alone and no address, and its key is nowhere: the one there is another's."""
    authority = x509.load_pem_x509_certificate((made / "cluster/ca.crt").read_bytes())
    names = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert names.value.permitted_subtrees == [x509.DNSName("dex.localhost")]
    addresses = [name.value for name in names.value.excluded_subtrees or [] if isinstance(name, x509.IPAddress)]
    assert addresses == [ip_network("0.0.0.0/0"), ip_network("::/0")]
    keys = [path for path in made.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert keys == [made / "dex/tls.key"]
    assert load_pem_private_key(keys[0].read_bytes(), None).public_key() != authority.public_key()


def test_dex_gets_the_secret_of_the_file(project: dict[str, Any], dex: dict[str, Any], made: Path) -> None:
    """Its shell puts the file's contents into the variable that its configuration names, and becomes Dex."""
    (made / "bin").mkdir()
    program = made / "bin/dex"
    program.write_text(f'#!/bin/sh\necho "$1 $2 ${dex["staticClients"][0]["secretEnv"]}"\n')
    program.chmod(0o755)
    service = project["services"]["dex"]
    command = service["entrypoint"] + [word.replace("/run/dex", str(made / "dex")) for word in service["command"]]
    environment = {"PATH": f"{made / 'bin'}:/usr/bin:/bin"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    config = next(place for place, source in mounts(project, "dex").items() if source.endswith("dex.yaml"))
    assert said == f"serve {config} {(made / 'dex/client-secret').read_text()}\n"


def load_setup() -> ModuleType:
    """setup.py as a module."""
    spec = importlib.util.spec_from_file_location("compose_setup", FOLDER / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The cluster and the gate.


def test_the_gate_s_configuration_is_good(tmp_path: Path) -> None:
    """`oidcgate check` finds nothing wrong."""
    assert f"provider {ISSUER}" in check((FOLDER / "config.yaml").read_text(), tmp_path)


def test_the_manifests_are_valid(cluster_documents: list[Document]) -> None:
    """By Kubernetes' own schemas; and no account of the UI's has rights of its own."""
    validate(cluster_documents)
    kinds = [each["kind"] for each in cluster_documents]
    assert (kinds.count("ClusterRoleBinding"), kinds.count("RoleBinding")) == (1, 1)


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="session")
async def test_an_api_server_takes_the_manifests(lab: Lab, cluster_documents: list[Document]) -> None:
    """A real API server takes each, every field being known to it."""
    spaces = [each for each in cluster_documents if each["kind"] == "Namespace"]
    done = await lab.cluster.kubectl("apply", "-f", "-", stdin=as_stream(spaces))
    assert done.returncode == 0, done.stderr
    done = await lab.cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=as_stream(cluster_documents)
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(cluster_documents)
