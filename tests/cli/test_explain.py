"""`oidcgate explain`: options, output and exit codes."""

import json
from pathlib import Path

import pytest

from oidcgate.cli.main import main, parser
from tests.cli.support import config, ran

RULES = (
    'upstream: {url: "http://127.0.0.1:9"}',
    'upstream: {url: "http://127.0.0.1:9"}\n'
    "    access: {rules: [{path: /ops*, groups: [ops, admins]}, {path: /me, emails: [a@example.com]}]}",
)
URL = "http://localhost:8000"


def explained(folder: Path, path: str, *options: str) -> int:
    """The exit code of a command about a path."""
    return main(["explain", "--config", str(config(folder, RULES)), "--url", URL + path, *options])


@pytest.mark.parametrize(
    ("path", "options", "code", "words"),
    [
        pytest.param("/", ["--user", "a@example.com"], 0, "passed to http://127.0.0.1:9", id="user"),
        pytest.param("/", ["--subject", "x"], 0, "x, without a usable address", id="subject"),
        pytest.param("/", ["--nobody"], 0, f"302 to {URL}/oauth2/start?rd=%2F", id="nobody"),
        pytest.param("/", [], 0, "nobody is signed in", id="nobody-described"),
        pytest.param("/", ["--script"], 1, "401 in the words", id="script"),
        pytest.param("/", ["--user", "a@example.com", "--websocket"], 0, "a page opens a websocket", id="websocket"),
        pytest.param("/ops", ["--group", "dev", "--group", "x", "ops"], 0, "groups: [dev, x, ops]", id="groups"),
        pytest.param("/ops", ["--group", "dev"], 1, "(by sites[0].access.rules[0])", id="refused"),
        pytest.param("/me", ["--user", "a@example.com", "--method", "post"], 0, f"POST {URL}/me", id="method"),
        pytest.param(
            "/", ["--user", "a@b.org", "--method", "POST", "--from", "https://evil.example"], 1, "403: ", id="from"
        ),
    ],
)
def test_explain(
    path: str, options: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each option has its effect; 0 when the request goes on or people sign in, else 1."""
    assert explained(tmp_path, path, *options) == code
    output, errors = capsys.readouterr()
    assert words in output
    assert errors == ""


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An object of the same facts."""
    assert explained(tmp_path, "/ops", "--group", "dev", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["verdict"]["outcome"] == "forbidden"
    assert shown["rule"]["at"] == "sites[0].access.rules[0]"


def test_no_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another host: which sites there are, and 1."""
    path = config(tmp_path)
    assert main(["explain", "--config", str(path), "--url", "https://other.example.com/"]) == 1
    assert capsys.readouterr() == ("", f"oidcgate: no site has the host other.example.com; there are: {URL}\n")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(
            ["--nobody", "--user", "a@b.org"], "--nobody: leaves no room for --user", id="somebody-and-nobody"
        ),
        pytest.param(["--from", "evil"], "--from: 'evil' must begin with https://", id="no-origin"),
        pytest.param(["--subject", "x" * 300], "--subject: sub: expected a string", id="no-subject"),
    ],
)
def test_wrong_usage(options: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A question that makes no sense is 2, with the option that is to blame."""
    assert explained(tmp_path, "/", *options) == 2
    assert problem in capsys.readouterr().err


def test_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All problems, and 2, as with every command."""
    path = config(tmp_path, ("client_id: gate", "client-id: gate"))
    assert main(["explain", "--config", str(path), "--url", URL]) == 2
    assert "provider.client-id: unknown key" in capsys.readouterr().err


def test_two_ways_at_once(tmp_path: Path) -> None:
    """A request is one of a page, a script or a websocket."""
    with pytest.raises(SystemExit) as caught:
        explained(tmp_path, "/", "--script", "--websocket")
    assert caught.value.code == 2


async def test_as_a_program(tmp_path: Path) -> None:
    """It needs neither the files that the configuration names nor a network, and leaves nothing behind."""
    secret = ("client_id: gate", "client_id: gate, client_secret_file: /nowhere/secret, ca_file: /nowhere/ca")
    path = config(tmp_path, secret)
    code, output, errors = await ran("explain", "--config", path, "--url", f"{URL}/", "--user", "a@b.org")
    assert (code, errors) == (0, "")
    assert "Authorization: Bearer <ID token for gate>" in output
    assert list(tmp_path.iterdir()) == [path]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It explains itself, and stands in the list."""
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--help"])
    assert caught.value.code == 0
    assert "oidcgate explain" in capsys.readouterr().out
    assert "explain" in parser().format_help()
