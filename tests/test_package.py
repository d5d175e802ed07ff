"""
What people install: one wheel is built from the tree, looked into, and used from a folder of its own.

`make release-check` does the rest, on every Python, with fresh environments and the network.
"""

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from oidcgate import __version__
from tests.test_mirror import ROOT
from tools.release.building import (
    build,
    check_changelog,
    check_deployments,
    copy_as_git,
    export,
    known_files,
    package_version,
    same_bytes,
    same_files,
)
from tools.release.contents import check_sdist, check_wheel, differences, metadata, package_files
from tools.release.report import CheckFailed, Report, run
from tools.release.sbom import is_allowed, licences_of, may_ship


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of the tree, and would know."""
    return export(ROOT, tmp_path_factory.mktemp("export") / "tree")


@pytest.fixture(scope="module")
def packages(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel, built with the setuptools that is here: no network."""
    built = build(tree, tmp_path_factory.mktemp("dist"), "sdist", "wheel", isolated=False)
    sdist, wheel = sorted(built, key=lambda path: path.suffix)
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(packages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone, in a folder."""
    target = tmp_path_factory.mktemp("installed") / "target"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(target)]
    run(sys.executable, "-m", "pip", "install", *options, packages[1])
    return target


def test_contents(packages: tuple[Path, Path], tree: Path) -> None:
    """The whole package with its data, types and licence; no tests, no deployments, nothing that git does not know."""
    assert check_wheel(packages[1], tree).startswith(f"{len(package_files(tree)) + 6} files")
    check_sdist(packages[0], tree)
    names = package_files(tree)
    assert {"oidcgate/py.typed", "oidcgate/web/style.css", "oidcgate/demo/ui/app.js"} < names


def test_metadata(packages: tuple[Path, Path]) -> None:
    """Name, version, licence, Python and extras are said as they are."""
    told = metadata(packages[1])
    assert (told["Name"], told["Version"], told["License-Expression"]) == ("oidcgate", __version__, "Apache-2.0")
    assert (told["Requires-Python"], told["License-File"]) == (">=3.11", "LICENSE")
    assert "redis" in told.get_all("Provides-Extra", [])
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    assert told["Description-Content-Type"] == "text/markdown"


@pytest.mark.parametrize("command", [["bin/oidcgate"], [sys.executable, "-m", "oidcgate"]], ids=["script", "module"])
def test_installed(command: list[str], installed: Path, tmp_path: Path) -> None:
    """It runs from where it was installed, by either name, in an empty folder, and leaves nothing there."""
    place = tmp_path / "empty"
    place.mkdir()
    words = [str(installed / command[0]) if command[0].startswith("bin") else command[0], *command[1:]]
    measured = {name for name in os.environ if name.startswith("COVERAGE")}  # another copy would count as not covered
    environment = {**{n: os.environ[n] for n in os.environ.keys() - measured}, "PYTHONPATH": str(installed)}
    asked = [sys.executable, "-c", "import oidcgate; print(oidcgate.__file__)"]
    assert run(*asked, folder=place, environment=environment) == f"{installed}/oidcgate/__init__.py\n"
    assert run(*words, "--version", folder=place, environment=environment) == f"oidcgate {__version__}\n"
    assert '"oidcgate configuration"' in run(*words, "check", "--schema", folder=place, environment=environment)
    assert list(place.iterdir()) == []


def test_versions(tree: Path) -> None:
    """Package, changelog and whatever is deployed name one version."""
    assert package_version(tree) == __version__
    check_changelog(tree, __version__, final=False)
    check_deployments(tree, __version__)


def test_oldest_python() -> None:
    """Every tested version installs on the oldest Python promised, to its first release: `make test` needs them all."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}
    needs = {
        canonicalize_name(each.metadata["Name"]): each.metadata.get("Requires-Python", "") for each in distributions()
    }
    assert len(tested & needs.keys()) > 50
    assert [name for name in sorted(tested & needs.keys()) if "3.11.0" not in SpecifierSet(needs[name])] == []


def test_make_release_check() -> None:
    """`make release-check` is there and runs the whole of it."""
    make = ["make", "--dry-run", "--no-print-directory", "--directory", str(ROOT), "release-check"]
    assert "-m tools.release" in subprocess.run(make, capture_output=True, text=True, check=True).stdout


# That the checks would find something.


def test_surplus_and_missing(packages: tuple[Path, Path], tree: Path, tmp_path: Path) -> None:
    """A file that the package has and the wheel has not, or the other way round, is named."""
    other = tmp_path / "tree"
    for name in package_files(tree):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        copy_as_git(tree / name, other / name)
    (other / "oidcgate/web/style.css").rename(other / "oidcgate/web/look.css")
    with pytest.raises(CheckFailed) as caught:
        check_wheel(packages[1], other)
    assert str(caught.value) == "missing: oidcgate/web/look.css; does not belong there: oidcgate/web/style.css"
    assert differences({"a"}, {"a"}) == ""


def test_export(tmp_path: Path) -> None:
    """With git what it ignores and what is deleted stays out; without it what is made here does."""
    root = tmp_path / "root"
    for name in ("a.py", "gone.py", "new/b.css", "dist/x.whl", ".venv/c.py", "new/__pycache__/b.pyc", "ignored.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / ".gitignore").write_text("dist/\n.venv/\n__pycache__/\nignored.txt\n")
    assert sorted(known_files(root)) == [".gitignore", "a.py", "gone.py", "ignored.txt", "new/b.css"]
    run("git", "init", "--quiet", folder=root)
    run("git", "add", "a.py", "gone.py", folder=root)
    (root / "gone.py").unlink()
    copied = export(root, tmp_path / "copy")
    assert sorted(path.name for path in copied.rglob("*") if path.is_file()) == [".gitignore", "a.py", "b.css"]


def test_modes(tmp_path: Path) -> None:
    """The umask of whoever checked the tree out does not get into a package."""
    for name, mode, kept in (("text", 0o664, 0o644), ("program", 0o775, 0o755)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
        copy_as_git(tmp_path / name, tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_mode & 0o777 == kept


def test_other_bytes(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """Two wheels that differ are told apart, byte by byte and file by file."""
    import zipfile

    other = tmp_path / packages[1].name
    with zipfile.ZipFile(packages[1]) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name) + (b"#" if name == "oidcgate/policy.py" else b""))
    same_bytes(packages[1], packages[1])
    same_files(packages[1], packages[1])
    with pytest.raises(CheckFailed, match="differs from one build to the next"):
        same_bytes(packages[1], other)
    with pytest.raises(CheckFailed, match=r"^different: oidcgate/policy\.py$"):
        same_files(packages[1], other)


@pytest.mark.parametrize(
    ("heading", "final", "good"),
    [
        ("## Unreleased", False, True),
        ("## Unreleased", True, False),
        ("## 1.2.3 (2026-01-01)", True, True),
        ("## [1.2.3] - 2026-01-01", True, True),
        ("## 1.2.2", False, False),
        ("", False, False),
    ],
)
def test_changelog(heading: str, final: bool, good: bool, tmp_path: Path) -> None:
    """The newest heading is the version; until the release it may also say that there is none yet."""
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n## 1.2.1\n")
    if good:
        check_changelog(tmp_path, "1.2.3", final=final)
    else:
        with pytest.raises(CheckFailed):
            check_changelog(tmp_path, "1.2.3", final=final)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("helm/oidcgate/Chart.yaml", 'version: 1.2.3\nappVersion: "1.2.2"\n'),
        ("compose/compose.yaml", "image: ghcr.io/oidcgate/oidcgate:1.2.2\n"),
    ],
)
def test_deployments(name: str, text: str, tmp_path: Path) -> None:
    """A chart or an image of another version is named."""
    path = tmp_path / "deploy" / name
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("1.2.2", "1.2.3"))
    assert check_deployments(tmp_path, "1.2.3") == "named by 1"
    path.write_text(text)
    with pytest.raises(CheckFailed, match=rf"deploy/{name} \(1\.2\.2\)"):
        check_deployments(tmp_path, "1.2.3")


@pytest.mark.parametrize(
    ("entries", "good"),
    [
        ([{"license": {"id": "MIT"}}], True),
        ([{"expression": "Apache-2.0 OR GPL-2.0-only"}], True),
        ([{"expression": "Apache-2.0 AND GPL-2.0-only"}], False),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], True),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}], False),
        ([{"license": {"name": "see the file"}}], False),
        ([], False),
    ],
)
def test_licences(entries: list[dict[str, object]], good: bool) -> None:
    """Of a choice one is enough, of several all count, and no licence is none that we may ship with."""
    assert may_ship(licences_of({"licenses": entries})) is good
    assert not is_allowed("")


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """A check that fails is told with what its program said, does not stop the others, and makes the whole fail."""
    report = Report()
    assert report.check("good", lambda: "fine") == "fine"
    assert report.summary() == 0
    failing = [sys.executable, "-c", "print('because'); raise SystemExit(3)"]
    assert report.check("bad", lambda: run(*failing)) is None
    assert report.check("next", lambda: run(sys.executable, "-c", "print('on')")) == "on\n"
    assert report.summary() == 1
    output = capsys.readouterr().out
    assert "ended with 3:\nbecause\n" in output
    assert "2 checks hold, 1 do not" in output
