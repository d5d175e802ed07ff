"""Each module has the test module that speaks of it; what is covered elsewhere is listed with where."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "__init__.py": "nothing to test",
    "__main__.py": "tests/cli/test_main.py runs it",
    "cli/snippet.py": "tests/journeys/test_peer_nginx.py and its siblings run what it prints",
    "errors.py": "data; each error is met where it is raised",
    "proxy/ui/dashboard.py": "tests/proxy/ui/test_presets.py: one table for all presets",
    "proxy/ui/headlamp.py": "tests/proxy/ui/test_presets.py",
    "proxy/ui/plain.py": "tests/proxy/ui/test_presets.py",
    "proxy/ui/preset.py": "tests/proxy/ui/test_presets.py",
    "session/store.py": "a Protocol; tests/stores/test_contract.py holds stores to it",
    "stores/redis_client.py": "tests/stores/test_redis.py",
    "stores/redis_notices.py": "tests/stores/test_redis.py",
    "web/texts.py": "data; tests/journeys/test_pages.py looks at every page",
    "web/machine.py": "tests/web/test_server.py",
    "web/opening.py": "tests/web/test_server.py",
    "web/grantrecords.py": "tests/web/test_grants.py",
    "web/renewal.py": "tests/web/test_grants.py",
    "web/sharedgrant.py": "tests/web/test_grants.py",
    "web/live.py": "tests/web/test_sessions.py",
}


def modules() -> list[str]:
    """The package's modules, but for the demo, whose parts are tested where they are served."""
    found = (ROOT / "oidcgate").rglob("*.py")
    names = sorted(path.relative_to(ROOT / "oidcgate").as_posix() for path in found)
    return [name for name in names if not name.startswith("demo/")]


def is_mirrored(name: str) -> bool:
    """Whether the module's own test module is there."""
    path = Path(name)
    return (ROOT / "tests" / path.parent / f"test_{path.name}").exists()


def test_every_module_has_its_test_module() -> None:
    """A new module comes with a test module of the same name."""
    missing = [n for n in modules() if not is_mirrored(n) and n not in ELSEWHERE and Path(n).name not in ELSEWHERE]
    assert missing == []


def test_the_list_of_exceptions_only_shrinks() -> None:
    """What has a test module by now, or is gone, leaves the list."""
    known = {*modules(), "__init__.py"}
    assert [name for name in ELSEWHERE if name not in known or is_mirrored(name)] == []
