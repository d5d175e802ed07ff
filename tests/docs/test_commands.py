"""Each command of the documentation does what its page says, or is shown to be exercised elsewhere."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.docs.desk import Desk, make
from tests.docs.desks import DESKS
from tests.docs.pages import ROOT, SHELLS, Block, blocks, commands, pages, shell_commands
from tests.docs.ways import WAYS, Elsewhere, Make, NotRun, Run, Stays
from tests.lab.cluster import Cluster
from tests.lab.kube.authority import Authority
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.programs import BUILD_LIMIT

COMMANDS = {page: shell_commands(page) for page in pages()}
RUN = [page for page, found in COMMANDS.items() if any(isinstance(WAYS.get(c), Run | Stays) for c in found)]
NOT_RUN = [command for command, way in WAYS.items() if isinstance(way, NotRun)]


def test_splitting() -> None:
    """Comments go, quotes stay, lines that go on are one command, a here-document belongs to its command."""
    text = "a 'x # y' \\\n  b   # why\n\n# nothing\ncat > f <<'EOF'\nc # d\nEOF\ne \"#\" f#g\n"
    assert commands(Block("", 1, "sh", text)) == ["a 'x # y' b", "cat > f <<'EOF'\nc # d\nEOF", 'e "#" f#g']
    assert commands(Block("", 1, "console", "$ a # why\nits output\n$ b\n")) == ["a", "b"]


@pytest.mark.parametrize("page", [page for page, found in COMMANDS.items() if found])
def test_every_command_is_in_the_table(page: str) -> None:
    """Nothing that people are told to type is left to chance."""
    assert [command for command in COMMANDS[page] if command not in WAYS] == []


SECRET = re.compile(r"(oidcgate|:\d+\.\d+\.\d+) secret\b[^\n]* > |\bopenssl rand\b[^\n]* > ")
FOR_ONE = ("umask 077\n", "install -d -m 0700 ", "install -m 0600 /dev/null ")


@pytest.mark.parametrize("page", pages())
def test_what_makes_a_secret_makes_it_for_one(page: str) -> None:
    """No command leaves a secret for everybody to read, be it for a moment, or says it on a command line."""
    made = [block for block in blocks(page) if block.kind in SHELLS and SECRET.search(block.text)]
    assert [str(block) for block in made if not any(way in block.text for way in FOR_ONE)] == []
    assert [command for command in COMMANDS[page] if re.search(r"(-H|--header) .*\$\(cat ", command)] == []


def test_the_table_has_no_other_entries() -> None:
    """An entry goes with its command."""
    known = {command for found in COMMANDS.values() for command in found}
    assert [command for command in WAYS if command not in known] == []


def test_those_that_are_not_run() -> None:
    """They are these few, each of which needs what no test may have: an engine, systemd, a cloud, an index."""
    compose = "docker compose -f deploy/compose/docker-compose.yaml"
    assert sorted(command.partition(" --")[0] for command in NOT_RUN) == [
        "/opt/oidcgate/bin/pip install oidcgate",
        "aws eks associate-identity-provider-config",
        "docker build",
        "docker buildx build",
        f"{compose} down",
        f"{compose} exec -T gate cat /run/secrets/oidcgate/ca.crt > ca.crt",
        f"{compose} exec cluster kubectl get pods",
        f"{compose} ps",
        f"{compose} up",
        "docker kill",
        "docker run",
        "kubectl -n oidcgate exec deploy/oidcgate",
        "pipx install oidcgate",
        "python3 -m venv /opt/oidcgate",
        "systemctl daemon-reload",
        "systemctl enable",
    ]


@pytest.mark.parametrize(
    "test", sorted({test for way in WAYS.values() if isinstance(way, Elsewhere | NotRun) for test in way.tests})
)
def test_exercised_elsewhere(test: str) -> None:
    """The test that is named is there."""
    file, _, name = test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(" if name else r"^(async )?def test_", text, re.MULTILINE)


async def test_targets_of_make(tmp_path: Path) -> None:
    """Each target is there, and would run what it is said to."""
    wanted = {command: way for command, way in WAYS.items() if isinstance(way, Make)}
    desk = Desk(tmp_path)
    done = await asyncio.gather(*(desk.run(make(command.removeprefix("make ")), ROOT) for command in wanted))
    for (command, way), (code, said) in zip(wanted.items(), done, strict=True):
        assert (code, way.runs in said) == (0, True), f"{command}: {said}"


@dataclass(frozen=True)
class Shared:
    """What the pages share: a cluster, its authority, and a folder with its `kubectl`."""

    cluster: Cluster
    authority: Authority
    programs: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    """A cluster with nobody in it."""
    folder = tmp_path_factory.mktemp("cluster")
    authority = Authority(folder)
    async with Cluster(authority=authority) as cluster:
        programs = folder / "programs"
        programs.mkdir()
        (programs / "kubectl").symlink_to(cluster.binaries.kubectl)
        yield Shared(cluster, authority, programs)


@pytest.mark.timeout(BUILD_LIMIT)
@pytest.mark.parametrize("page", RUN)
@pytest.mark.asyncio(loop_scope="module")
async def test_commands_of_a_page(page: str, shared: Shared, tmp_path: Path) -> None:
    """Typed one after the other, each does what the page says."""
    kubeconfig = shared.cluster.kubeconfig(ADMIN)
    authority = shared.authority.pem
    async with Desk(tmp_path, authority=authority, kubeconfig=kubeconfig, programs=shared.programs) as desk:
        await DESKS[page](page, desk, shared.cluster)
        for command in COMMANDS[page]:
            match WAYS[command]:
                case Run(says, code):
                    ended, said = await desk.run(command)
                    assert ended == code, f"{command}: {said}"
                    assert re.search(says, said), f"{command}: {said}"
                case Stays(ready):
                    await desk.start(command, ready)
