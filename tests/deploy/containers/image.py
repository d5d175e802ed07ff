"""
Builds and runs our Dockerfile without a container engine: each instruction in a sandbox of bubblewrap.

What is real: the order and the words of every instruction, what .dockerignore lets in, the wheels with their hashes, the
file system that the final stage copies together, the user, the read-only root. What is not: the base image, whose place
this machine's own Python and libraries take, and the index, for which a folder of wheels stands. So layers, the other
architecture and Debian's version are not seen.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.deploy.containers.programs import build_context

WHEELS = "/wheels"
BASE = "/base"  # where the Python that stands for the base image's is
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
SYSTEM = ("/etc/ssl", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ld.so.cache")
BUILD_LIMIT = 240  # seconds for one instruction, with downloads


@dataclass
class Stage:
    """
    A file system that a stage's instructions have made, and what they say of its start.

    Attributes:
        root: what is in the image besides the base image.
        settings: the last words of ENTRYPOINT, CMD, HEALTHCHECK, USER, WORKDIR, STOPSIGNAL and so on.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> int:
        """Who runs the instructions to come."""
        return int(self.settings.get("USER", "0").partition(":")[0])

    @property
    def folder(self) -> str:
        """Where they run."""
        return self.settings.get("WORKDIR", "/")

    def words(self, instruction: str) -> list[str]:
        """The command in ENTRYPOINT, CMD or HEALTHCHECK; they must be in the form that needs no shell."""
        words: list[str] = json.loads(self.settings[instruction][self.settings[instruction].index("[") :])
        return words


@dataclass
class Mount:
    """A folder or file of this machine at a place in the sandbox."""

    source: Path
    target: str
    writable: bool = False


class Build:
    """
    The stages of a Dockerfile, made one after the other.

    Args:
        context: the folder that is built; work: an empty one.
        wheels: what pip finds in place of an index.
    """

    def __init__(self, dockerfile: Path, context: Path, work: Path, wheels: Path) -> None:
        self._context = context
        self._seen = build_context(context)
        self._work = work
        self._wheels = Mount(wheels, WHEELS)
        self._stages: list[Stage] = []
        self._names: dict[str, Stage] = {}
        for part in DockerfileParser(path=str(dockerfile), cache_content=True).structure:
            self._do(part["instruction"], re.sub(r"\s+", " ", part["value"]).strip())

    @property
    def final(self) -> Stage:
        """What would become the image."""
        return self._stages[-1]

    def _do(self, instruction: str, value: str) -> None:
        if instruction == "FROM":
            self._begin(value)
        elif instruction == "RUN":
            self._run(value)
        elif instruction == "COPY":
            self._copy(value)
        elif instruction == "ENV":
            for name, text in re.findall(r"(\w+)=(\S+)", value):
                self.final.environment[name] = text.replace("$PATH", _path(self.final))
        elif instruction == "ARG" and self._stages:
            name, _, default = value.partition("=")
            self.final.arguments[name] = default
        elif instruction not in ("COMMENT", "ARG"):
            self.final.settings[instruction] = value
            if instruction == "WORKDIR":
                _inside(self.final, value).mkdir(parents=True, exist_ok=True)

    def _begin(self, value: str) -> None:
        stage = Stage(self._work / f"stage-{len(self._stages)}")
        (stage.root / "etc").mkdir(parents=True)
        for name, target in LINKS.items():
            (stage.root / name).symlink_to(target)
        self._stages.append(stage)
        self._names[value.rpartition(" AS ")[2]] = stage
        if len(self._stages) > 1:  # the same base image once more
            shutil.copytree(self._work / "base", _inside(stage, BASE), symlinks=True)
            return
        command = [os.path.realpath(sys.executable), "-m", "venv", BASE]
        subprocess.run(sandbox(stage, command, user=0, writable=True), check=True, timeout=BUILD_LIMIT)
        shutil.copytree(_inside(stage, BASE), self._work / "base", symlinks=True)

    def _run(self, value: str) -> None:
        stage = self.final
        mounts = [self._wheels]
        while found := re.match(r"--mount=type=cache,target=(\S+) ", value):
            cache = self._work / "caches" / found[1].replace("/", "-")
            cache.mkdir(parents=True, exist_ok=True)
            mounts.append(Mount(cache, found[1], writable=True))
            value = value[found.end() :]
        command = sandbox(stage, ["sh", "-ec", value], user=stage.user, mounts=mounts, writable=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
        if done.returncode:
            raise AssertionError(f"RUN {value}\n{done.stdout[-1500:]}{done.stderr[-3000:]}")

    def _copy(self, value: str) -> None:
        words = value.split()
        flags = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        for source in sources:
            place = _inside(self.final, os.path.join(self.final.folder, target))
            if "from" in flags:
                shutil.copytree(_inside(self._names[flags["from"]], source), place, symlinks=True)
            else:
                self._copy_seen(source, place, is_folder=target.endswith("/"))
            if "chmod" in flags:
                place.chmod(int(flags["chmod"], 8))
            if "chown" in flags and os.geteuid() == 0:
                os.chown(place, *map(int, flags["chown"].split(":")))

    def _copy_seen(self, source: str, place: Path, *, is_folder: bool) -> None:
        """A file, or a folder's contents, as far as .dockerignore lets them be seen."""
        found = [name for name in self._seen if name == source or name.startswith(f"{source}/")]
        if not found:
            raise AssertionError(f"COPY {source}: the build does not see it")
        for name in found:
            target = place / Path(name).name if is_folder else place / Path(name).relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._context / name, target)


def sandbox(
    stage: Stage,
    command: list[str],
    *,
    user: int,
    mounts: Sequence[Mount] = (),
    writable: bool = False,
) -> list[str]:
    """
    The command that runs a command inside a stage, with a loopback of its own for all network.

    Args:
        user: number of the user and the group; without root rights here, it is mapped to oneself.
        writable: whether the root file system can be written to, as in a build.
    """
    words = ["bwrap", "--die-with-parent", "--clearenv", "--unshare-pid", "--unshare-ipc", "--unshare-net"]
    words += ["--new-session"]
    words += ["--bind" if writable else "--ro-bind", str(stage.root), "/", "--ro-bind", "/usr", "/usr"]
    words += ["--proc", "/proc", "--dev", "/dev", "--chdir", stage.folder]
    words += ["--tmpfs", "/tmp"] if writable else []
    for path in SYSTEM:
        words += ["--ro-bind-try", path, path]
    for mount in [*_python(), *mounts]:
        _place(_inside(stage, mount.target), mount.source)
        words += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_DISABLE_PIP_VERSION_CHECK": "1"} if writable else {}
    for name, value in {"HOME": "/root", **offline, **stage.environment, "PATH": _path(stage)}.items():
        words += ["--setenv", name, value]
    if os.geteuid() != 0:
        return [*words, "--unshare-user", "--uid", str(user), "--gid", str(user), "--", *command]
    if user == 0:
        return [*words, "--", *command]
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    return [
        *words,
        "--cap-add",
        "CAP_SETUID",
        "--cap-add",
        "CAP_SETGID",
        "--cap-add",
        "CAP_SETPCAP",
        "--",
        *drop,
        "--",
        *command,
    ]


def _python() -> list[Mount]:
    """This machine's Python at its own place, unless that is where everybody can see it already."""
    base = Path(sys.base_prefix)
    return [] if base.is_relative_to("/usr") else [Mount(base, str(base))]


def _place(target: Path, source: Path) -> None:
    """Something to mount upon, as engines make it."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _path(stage: Stage) -> str:
    return stage.environment.get("PATH", f"{BASE}/bin:/usr/bin:/usr/sbin")


def _inside(stage: Stage, path: str) -> Path:
    return stage.root / path.lstrip("/")
