"""The image: its lock files, what a build sees, and a whole build and a start without a container engine."""

import configparser
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from oidcgate import __version__
from oidcgate.web import master
from tests.deploy.containers.image import Build, Mount, Stage, sandbox
from tests.deploy.containers.programs import build_context
from tests.deploy.manifests import check
from tests.docs.pages import shell_commands

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"
LOCK = ROOT / "deploy/image/requirements.txt"
BUILD_LOCK = ROOT / "deploy/image/build-requirements.txt"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\$", re.M)
USER = 65532
PAGE = "docs/docker.md"
IMAGE = f"ghcr.io/oidcgate/oidcgate:{__version__}"
READY = "listening on"  # what the gate says last when it starts
LAUNCHED = ROOT / "tests/deploy/containers/launched.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidcgate" / "image"
WHEELS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def pins(file: Path) -> dict[str, str]:
    """Versions by name."""
    return {canonicalize_name(name): version for name, version in PIN.findall(file.read_text())}


def constraints() -> dict[str, str]:
    """What this release was tested with."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in found}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """What the Dockerfile builds."""
    return Build(DOCKERFILE, ROOT, tmp_path_factory.mktemp("image"), wheels()).final


def wheels() -> Path:
    """The wheels that the lock files name for the Python that runs the tests; fetched once."""
    lock = hashlib.sha256(LOCK.read_bytes() + BUILD_LOCK.read_bytes()).hexdigest()[:16]
    folder = CACHE / f"wheels-{sys.implementation.cache_tag}-{platform.machine()}-{lock}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
            command += ["--only-binary", ":all:", "--dest", f"{scratch}/wheels", "-r", LOCK, "-r", BUILD_LOCK]
            subprocess.run(command, check=True)
            Path(scratch, "wheels").rename(folder)
    return folder


# The lock files.


def test_the_image_installs_what_was_tested() -> None:
    """Every version in the image is the one in constraints.txt."""
    tested = constraints()
    for file in (LOCK, BUILD_LOCK):
        assert pins(file) == {name: tested[name] for name in pins(file)}
    assert "aiohttp" in pins(LOCK)


def test_the_image_installs_what_is_needed() -> None:
    """What setup.cfg asks for at run time and for Redis is pinned within its bounds, and so is the build's tool."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = [setup["options"]["install_requires"], setup["options.extras_require"]["redis"]]
    lines = [line for text in wanted for line in text.splitlines() if line and not line.startswith("#")]
    assert_within(lines, pins(LOCK))
    assert_within(["setuptools>=77"], pins(BUILD_LOCK))
    assert 'requires = ["setuptools>=77"]' in (ROOT / "pyproject.toml").read_text()


def assert_within(lines: list[str], found: dict[str, str]) -> None:
    """Each requirement is met by a pin."""
    for requirement in map(Requirement, lines):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("file", [LOCK, BUILD_LOCK], ids=["run", "build"])
def test_a_lock_has_hashes_and_names_no_index(file: Path) -> None:
    """Each line is a pin, a hash or a comment, so that where the files come from is the builder's choice."""
    lines = [line.strip().removesuffix(" \\") for line in file.read_text().splitlines()]
    unknown = [line for line in lines if not re.fullmatch(r"#.*|--hash=sha256:[0-9a-f]{64}|[\w.-]+==[\w.]+", line)]
    assert unknown == []
    assert "://" not in file.read_text()
    blocks = re.split(r"^(?=[\w-]+==)", file.read_text(), flags=re.M)[1:]
    assert [block.split()[0] for block in blocks if "--hash=" not in block] == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_both_architectures_have_wheels(machine: str, tmp_path: Path) -> None:
    """Nothing needs a compiler: pip finds a wheel with a listed hash for all, for the image's Python."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    proof = CACHE / f"wheels-{machine}-{lock}.json"  # the same lock is asked for once
    if not proof.exists():
        proof.parent.mkdir(parents=True, exist_ok=True)
        resolve(machine, tmp_path, proof)
    found = [item["download_info"]["url"].rpartition("/")[2] for item in json.loads(proof.read_text())["install"]]
    assert len(found) == len(pins(LOCK))
    assert [name for name in found if not name.endswith(("-none-any.whl", f"_{machine}.whl"))] == []


def resolve(machine: str, tmp_path: Path, proof: Path) -> None:
    """What pip would install elsewhere, as a report."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.13"]
    command += [word for wheel in WHEELS for word in ("--platform", f"{wheel}_{machine}")]
    report = tmp_path / "report.json"
    command += ["--target", str(tmp_path / "nothing"), "--report", str(report), "-r", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report.replace(proof)


# What a build sees.


def test_the_dockerfile_is_clean() -> None:
    """hadolint finds nothing."""
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_build_sees_the_package_alone(tmp_path: Path) -> None:
    """Whatever else lies about, secrets and tests included, gets into no layer."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    wanted = ["oidcgate/__init__.py", "oidcgate/demo/ui.css", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    wanted += ["deploy/image/requirements.txt", "deploy/image/build-requirements.txt"]
    unwanted = [".git/config", "keys", "client-secret", ".env", "tests/test_x.py", "oidcgate/__pycache__/x.pyc"]
    unwanted += [".oidcgate/keys", "deploy/compose/setup.py", "deploy/image/config.yaml", "constraints.txt"]
    for name in [*wanted, *unwanted]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert build_context(tmp_path) == sorted(wanted)


# What is built.


def test_the_image_says_what_it_is(image: Stage) -> None:
    """Version, licence and source; the user is a number, as Kubernetes' runAsNonRoot needs it; SIGTERM stops it."""
    labels = image.settings["LABEL"]
    assert image.arguments["VERSION"] == __version__
    assert 'org.opencontainers.image.version="${VERSION}"' in labels
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in labels
    assert image.settings["USER"] == f"{USER}:{USER}"
    assert image.settings["STOPSIGNAL"] == "SIGTERM"
    assert image.words("ENTRYPOINT") == ["oidcgate"]
    assert image.words("CMD") == ["serve", "--config", "/etc/oidcgate/config.yaml"]


def test_the_image_has_no_installer(image: Stage) -> None:
    """No pip, neither the base image's nor one of its own, and none of the build's tools."""
    assert [path for path in image.root.rglob("*") if path.name in ("pip", "pip3")] == []
    assert [path for path in (image.root / "opt").rglob("*") if path.name in ("setuptools", "wheel")] == []
    assert (image.root / "opt/oidcgate/bin/oidcgate").exists()
    assert not (image.root / "src").exists()


def test_all_bytecode_is_there(image: Stage) -> None:
    """Each module has bytecode that is used whatever the file's time is (PEP 552), since none can be written later."""
    packages = next(image.root.glob("opt/oidcgate/lib/python*/site-packages"))
    modules = [*(packages / "oidcgate").rglob("*.py"), *(packages / "aiohttp").rglob("*.py")]
    assert len(modules) > 200
    for module in modules:
        (bytecode,) = (module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc")
        assert int.from_bytes(bytecode.read_bytes()[4:8], "little") == 0b01, bytecode


def test_the_image_runs(image: Stage, tmp_path: Path) -> None:
    """As nobody, with nothing to write to but its state; the health check tells life, and readiness is another matter."""
    mounts = mounted(image, tmp_path)
    report = launched(image, mounts, ["/etc/x", "/opt/oidcgate/x", "/tmp/x", "/x", "/var/lib/oidcgate/x"])
    assert report["before"] == {"livez": 1, "readyz": 1}
    assert report["during"] == {"livez": 0, "readyz": 1}, "the issuer cannot be reached in there"
    assert report["written"] == ["/var/lib/oidcgate/x"]
    assert (report["code"], report["users"], report["groups"]) == (0, [str(USER)] * 4, [str(USER)] * 4)
    assert "listening on 0.0.0.0:8080 for https://headlamp.example.com" in str(report["said"])
    assert any(path.suffix == ".db" for path in mounts[-1].source.iterdir()), "sessions are kept"


def test_commands_of_the_page(image: Stage, tmp_path: Path) -> None:
    """Those of docs/docker.md build this file and start this image as it wants to be started."""
    build, both = (command_of(f"docker {word} ") for word in ("build", "buildx build"))
    for command in (build, both):
        assert command[command.index("--file") + 1] == "deploy/Dockerfile"
        assert command[command.index("--tag") + 1] == IMAGE
    assert both[both.index("--platform") + 1] == "linux/amd64,linux/arm64"
    run = command_of("docker run --detach")
    assert run[-1] == IMAGE
    assert {"--read-only", "no-new-privileges", "ALL"} <= set(run)
    assert int(run[run.index("--stop-timeout") + 1]) > master.NOTICE + master.DRAIN + master.LAST_WAIT
    assert run[run.index("--publish") + 1].rpartition(":")[2] in image.settings["EXPOSE"].split()
    assert command_of("docker kill") == ["docker", "kill", "--signal", "HUP", run[run.index("--name") + 1]]
    inside = command_of("docker exec")[3:]
    done = in_image(image, inside, mounted(image, tmp_path))
    assert "good; 1 site" in done.stdout, done.stderr


def command_of(beginning: str) -> list[str]:
    """The page's command that begins so, in words."""
    (found,) = [command for command in shell_commands(PAGE) if command.startswith(beginning)]
    return shlex.split(found)


def in_image(image: Stage, command: list[str], mounts: list[Mount]) -> subprocess.CompletedProcess[str]:
    """A command that is run in the image, by its user."""
    user = int(image.settings["USER"].partition(":")[0])
    words = sandbox(image, command, user=user, mounts=mounts)
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def mounted(image: Stage, tmp_path: Path) -> list[Mount]:
    """What the page mounts, made by the page's own commands; the state comes last."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "client-secret").write_text("a-secret-for-tests-only")
    for command in shell_commands(PAGE)[2:]:
        if command.startswith("docker run --detach"):
            break
        prepare(image, command, tmp_path)
    (tmp_path / "oidcgate-state").mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path / "oidcgate-state", USER, USER)
    words = command_of("docker run --detach")
    volumes = [words[at + 1].replace("$PWD/", "").split(":") for at, word in enumerate(words) if word == "--volume"]
    return [Mount(tmp_path / source, target, writable=not more) for source, target, *more in volumes]


def prepare(image: Stage, command: str, folder: Path) -> None:
    """One of the page's commands; what it has the image do, the sandbox does."""
    run = f"docker run --rm {IMAGE} "
    if command.startswith(run):
        words, target = command.removeprefix(run).split(" > ")
        done = in_image(image, image.words("ENTRYPOINT") + words.split(), [])
        assert done.returncode == 0, done.stderr
        (folder / target).write_text(done.stdout)
    elif not command.startswith("sudo ") or os.geteuid() == 0:  # without root's rights one is oneself in there
        subprocess.run(["sh", "-ec", command.removeprefix("sudo ")], cwd=folder, check=True)


def launched(image: Stage, mounts: list[Mount], paths: list[str]) -> dict[str, object]:
    """One start of the image, told by ``launched.py``; Compose's health check is asked beside the image's own."""
    compose = yaml.safe_load((ROOT / "deploy/compose/docker-compose.yaml").read_text())
    given = {
        "command": image.words("ENTRYPOINT") + image.words("CMD"),
        "health": {
            "livez": image.words("HEALTHCHECK"),
            "readyz": compose["services"]["gate"]["healthcheck"]["test"][1:],
        },
        "paths": paths,
        "ready": READY,
        "stop": image.settings["STOPSIGNAL"],
    }
    done = in_image(image, ["python", "-I", "-c", LAUNCHED.read_text(), json.dumps(given)], mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_the_image_s_configuration_is_good(tmp_path: Path) -> None:
    """The one that docs/docker.md starts from."""
    said = check((ROOT / "deploy/image/config.yaml").read_text(), tmp_path)
    assert "good; 1 site" in said
