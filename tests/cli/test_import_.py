"""`oidcgate import`: what goes where, and the exit codes."""

from pathlib import Path

import pytest
import yaml

from oidcgate.cli.main import main
from oidcgate.config import load_config
from oidcgate.errors import ConfigError

FLAGS = """\
--provider=oidc
--oidc-issuer-url=https://dex.example.com
--client-id=gate
--client-secret=hush
--redirect-url=https://ui.example.com/oauth2/callback
--upstream=https://ui.svc
--authenticated-emails-file=/gone/emails
"""


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """A file of flags, and the list of addresses beside it."""
    (tmp_path / "emails").write_text("ada@example.com\n")
    path = tmp_path / "flags"
    path.write_text(FLAGS)
    return path


def test_configuration_and_report(flags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Our configuration goes to standard output, the report to standard error."""
    assert main(["import", "oauth2-proxy", str(flags)]) == 0
    output, errors = capsys.readouterr()
    assert yaml.safe_load(output)["sites"][0]["access"] == {"emails": ["ada@example.com"]}
    assert [line for line in errors.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Taken over:",
        "Differs:",
        "Safer by default now:",
        "No counterpart:",
    ]
    assert errors.endswith("The gate takes this configuration; 1 place to FILL IN.\n")
    assert "hush" not in output + errors


def test_output_file(flags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --output the configuration goes to a new file; one that is there is left as it is."""
    output = tmp_path / "gate.yaml"
    assert main(["import", "oauth2-proxy", str(flags), "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    with pytest.raises(ConfigError, match="client_secret_file"):
        load_config(output)
    assert load_config(output, files=False).provider.client_secret_file == str(tmp_path / "client-secret")
    output.write_text("mine")
    assert main(["import", "oauth2-proxy", str(flags), "--output", str(output)]) == 2
    assert output.read_text() == "mine"
    assert main(["import", "oauth2-proxy", str(flags), "--output", str(tmp_path / "no" / "gate.yaml")]) == 2


def test_environment(flags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The environment fills references in, and counts as a source of its own."""
    flags.write_text(FLAGS.replace("--client-id=gate", "--client-id=$(ID)"))
    environment = tmp_path / "environment"
    environment.write_text("ID=other\nOAUTH2_PROXY_SCOPE=openid\n")
    assert main(["import", "oauth2-proxy", str(flags), "--environment", str(environment)]) == 0
    provider = yaml.safe_load(capsys.readouterr().out)["provider"]
    assert (provider["client_id"], provider["scopes"]) == ("other", ["openid", "groups", "offline_access"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"\xff", "is not UTF-8 text", id="binary"),
        pytest.param(b"hello", "holds no flags", id="something-else"),
    ],
)
def test_unreadable(content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Input that cannot be understood exits with 2 and prints no configuration."""
    path = tmp_path / "input"
    if content is not None:
        path.write_bytes(content)
    assert main(["import", "oauth2-proxy", str(path)]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors


def test_a_result_that_the_gate_refuses(flags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What only a person can mend is printed all the same, with each problem, and exits with 1."""
    flags.write_text(FLAGS.replace("https://dex", "http://dex"))
    assert main(["import", "oauth2-proxy", str(flags)]) == 1
    output, errors = capsys.readouterr()
    assert "issuer: http://dex.example.com" in output
    assert "  - provider.issuer: http is for issuers on this machine only; use https\n" in errors


def test_nothing_left(flags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A complete configuration has nothing to fill in."""
    flags.write_text(FLAGS.replace("--client-secret=hush", "--client-secret-file=/run/secret"))
    assert main(["import", "oauth2-proxy", str(flags)]) == 0
    assert capsys.readouterr().err.endswith("nothing is left to fill in.\n")


def test_a_list_of_addresses_that_is_nowhere(flags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the list of those who may pass, nobody does until a person has seen to it."""
    (flags.parent / "emails").unlink()
    assert main(["import", "oauth2-proxy", str(flags)]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["sites"][0]["access"] == {"emails": ["fill-in@example.invalid"]}
