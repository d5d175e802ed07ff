"""`oidcgate check`: good, bad, `--print` and `--schema`."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from oidcgate.cli.check import STARS, json_schema, starred
from oidcgate.cli.main import main
from oidcgate.config import load_config
from tests.cli.support import config, ran
from tests.config.support import private

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def checked(*arguments: str | Path) -> int:
    """The exit code of a check."""
    return main(["check", *map(str, arguments)])


def test_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is called good, in a line that says what it is for."""
    path = config(tmp_path)
    assert checked("--config", path) == 0
    assert capsys.readouterr() == (f"{path}: good; 1 site, provider http://127.0.0.1:9\n", "")


def test_good_with_two_sites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sites are counted."""
    path = config(tmp_path)
    path.write_text(path.read_text() + '  - url: http://other.localhost\n    upstream: {url: "http://ui"}\n')
    assert checked("--config", path) == 0
    assert "good; 2 sites" in capsys.readouterr().out


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    """The example is good as it stands."""
    assert checked("--config", EXAMPLE) == 0
    assert "good" in capsys.readouterr().out


def test_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything wrong is told at once on standard error, each with its path; nothing on the output."""
    path = config(tmp_path, ("client_id: gate", "client-id: gate"), ("store: memory", "store: memory, idle: 30"))
    assert checked("--config", path) == 2
    assert capsys.readouterr() == (
        "",
        "3 problems in the configuration:\n"
        "  provider.client_id: this key is needed\n"
        "  provider.client-id: unknown key; did you mean 'client_id'?\n"
        "  session.idle: 30 is not a duration; write it with a unit, such as 30s, 5m or 12h\n",
    )


@pytest.mark.parametrize("show", [True, False])
def test_bad_keys(tmp_path: Path, show: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys themselves are looked at, not only their file."""
    private(tmp_path / "keys", "geheim")
    path = config(tmp_path, ("store: memory", "store: memory, keys_file: keys"))
    assert checked("--config", path, *(["--print"] if show else [])) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "session.keys_file: " in errors
    assert "geheim" not in errors


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file is a configuration problem; no file at all is wrong usage."""
    assert checked("--config", tmp_path / "none.yaml") == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
    assert checked() == 2
    assert "--config FILE is needed" in capsys.readouterr().err


async def test_python_parser(tmp_path: Path) -> None:
    """aiohttp's slower, less strict parser is refused, along with everything else that is wrong."""
    path = config(tmp_path, ("client_id: gate", "client_id: ''"))
    code, output, errors = await ran("check", "--config", path, AIOHTTP_NO_EXTENSIONS="1")
    assert (code, output) == (2, "")
    assert "unset AIOHTTP_NO_EXTENSIONS and install a wheel with C extensions" in errors
    assert "provider.client_id" in errors


async def test_optimized(tmp_path: Path) -> None:
    """`python -O` is refused."""
    code, _, errors = await ran("check", "--config", config(tmp_path), PYTHONOPTIMIZE="1")
    assert code == 2
    assert "python -O removes checks" in errors


# --print


def printed(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `--print` shows."""
    assert checked("--config", path, "--print") == 0
    return capsys.readouterr().out


def test_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The effective configuration has every default, in the model's order and as people write it."""
    shown = yaml.safe_load(printed(config(tmp_path), capsys))
    assert list(shown)[:3] == ["listen", "tls", "workers"]
    assert shown["session"]["lifetime"] == "12h"
    assert shown["limits"]["head"] == "64KiB"
    assert shown["session"]["state_dir"] == f"{tmp_path}/.oidcgate"


@pytest.mark.parametrize("example", [True, False])
def test_print_reads_back(tmp_path: Path, example: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown is a configuration, and the same one, secrets' files and all."""
    private(tmp_path / "secret")
    own = config(tmp_path, ("client_id: gate", "client_id: gate, client_secret_file: secret"))
    path = EXAMPLE if example else own
    text = printed(path, capsys)
    copy = tmp_path / "copy.yaml"
    copy.write_text(text)
    assert load_config(copy) == load_config(path)
    assert printed(copy, capsys) == text


def test_print_stars_passwords(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A password in the proxy's URL is starred, and what is shown still reads back."""
    path = config(tmp_path, ("client_id: gate", 'client_id: gate, proxy: "http://jane:ge@heim@proxy:3128"'))
    text = printed(path, capsys)
    assert f"http://jane:{STARS}@proxy:3128" in text
    assert "heim" not in text
    copy = tmp_path / "copy.yaml"
    copy.write_text(text)
    load_config(copy)


def test_print_shows_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What secrets' files and variables hold is never shown, only where they are."""
    monkeypatch.setenv("GATE_SECRET", "geheim")
    main(["secret"])
    key = capsys.readouterr().out
    private(tmp_path / "keys", key)
    path = config(
        tmp_path,
        ("client_id: gate", "client_id: gate, client_secret_env: GATE_SECRET"),
        ("store: memory", "store: memory, keys_file: keys"),
    )
    text = printed(path, capsys)
    assert "GATE_SECRET" in text
    assert "geheim" not in text
    assert key.strip() not in text


@pytest.mark.parametrize(
    ("node", "shown"),
    [
        pytest.param("http://u:p@h/x", f"http://u:{STARS}@h/x", id="user-and-password"),
        pytest.param("redis://:p@h", f"redis://:{STARS}@h", id="password-only"),
        pytest.param("http://u:p:q@r@h", f"http://u:{STARS}@h", id="signs-in-the-password"),
        pytest.param("http://u@h", "http://u@h", id="no-password"),
        pytest.param("http://h:80/a@b", "http://h:80/a@b", id="at-sign-in-the-path"),
        pytest.param("//[://", "//[://", id="no-url"),
        pytest.param(7, 7, id="number"),
        pytest.param(None, None, id="null"),
        pytest.param(["http://u:p@h"], [f"http://u:{STARS}@h"], id="list"),
    ],
)
def test_starred(node: object, shown: object) -> None:
    """Passwords in URLs become stars, everything else stays."""
    assert starred({"a": {"b": node}}) == {"a": {"b": shown}}


# --schema


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is a JSON Schema with a name, and needs no configuration."""
    assert checked("--schema") == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "oidcgate configuration"


@pytest.fixture(scope="module")
def validator() -> Any:
    """What an editor has."""
    return jsonschema.Draft202012Validator(json_schema())


def test_schema_accepts(validator: Any, tmp_path: Path) -> None:
    """An editor finds nothing wrong with the example, nor with a small file."""
    for path in (EXAMPLE, config(tmp_path)):
        validator.validate(yaml.safe_load(path.read_text()))
    one = yaml.safe_load(config(tmp_path).read_text()) | {"listen": "127.0.0.1:8080"}
    validator.validate(one)  # as the gate takes it


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        pytest.param(("client_id: gate", "client-id: gate"), "provider", id="unknown-key"),
        pytest.param(("store: memory", "idle: 30"), "session", id="no-unit"),
        pytest.param(("store: memory", "idle: 30 s"), "session", id="no-duration"),
        pytest.param(("admin: null", "limits: {head: lots}"), "limits", id="no-size"),
        pytest.param(("admin: null", "log: {level: loud}"), "log", id="no-level"),
    ],
)
def test_schema_refuses(validator: Any, tmp_path: Path, changes: tuple[str, str], place: str) -> None:
    """An editor marks unknown keys and values that do not fit, where they are."""
    errors = list(validator.iter_errors(yaml.safe_load(config(tmp_path, changes).read_text())))
    assert {error.absolute_path[0] for error in errors} == {place}
