"""Files of every format, and which of them wins."""

import pytest

from oidcgate.imports.reading import Source, read, read_variables
from oidcgate.imports.report import Part, Report
from oidcgate.imports.settings import Settings, Unreadable


def settings(*texts: tuple[str, str], report: Report | None = None, **variables: str) -> Settings:
    """What some files say."""
    return read([Source(name, text) for name, text in texts], variables, report or Report())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("args.txt", "--client-id=gate --email-domain=a.com,b.com", id="flags"),
        pytest.param(
            "noname", "oauth2-proxy --client-id gate \\\n --email-domain a.com --email-domain b.com", id="shell"
        ),
        pytest.param("o.service", "[Service]\nExecStart=/bin/o --client-id=gate --email-domain=a.com,b.com", id="unit"),
        pytest.param(
            "o.env", "# x\nexport OAUTH2_PROXY_CLIENT_ID='gate'\nOAUTH2_PROXY_EMAIL_DOMAINS=a.com,b.com", id="env"
        ),
        pytest.param(
            "o.service",
            '[Service]\nEnvironment="OAUTH2_PROXY_CLIENT_ID=gate"\nExecStart=o --email-domain=a.com,b.com',
            id="unit-environment",
        ),
        pytest.param("o.cfg", 'client_id = "gate"\nemail_domains = ["a.com", "b.com"]', id="toml"),
        pytest.param("noname", 'client_id = "gate"\nemail_domains = "a.com,b.com"', id="toml-by-content"),
        pytest.param("noname", '["--client-id=gate", "--email-domain=a.com,b.com"]', id="json-list"),
        pytest.param("args.yaml", "- --client-id=gate\n- --email-domain=a.com,b.com", id="yaml-list"),
        pytest.param(
            "cm.yaml",
            "kind: ConfigMap\ndata:\n  o.toml: |\n    Client_ID = 'gate'\n    email_domains = ['a.com', 'b.com']",
            id="config-map",
        ),
    ],
)
def test_formats(name: str, text: str) -> None:
    """The format is told by the ending and by what stands there."""
    found = settings((name, text))
    assert found.text("client-id") == "gate"
    assert found.values("email-domain") == ("a.com", "b.com")


def test_alpha_by_content() -> None:
    """A file that looks like the alpha configuration is read as it."""
    assert settings(("noname", "providers:\n  - clientID: gate\n")).text("client-id") == "gate"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("a.toml", "hush =", "a.toml is not TOML", id="toml"),
        pytest.param("a.yaml", "{hush", "a.yaml is not YAML", id="yaml"),
        pytest.param("a.yaml", "hush: 1", "a.yaml holds nothing of oauth2-proxy's", id="other-yaml"),
        pytest.param("a.service", "[Service]\nUser=hush", "a.service holds no flags", id="unit"),
        pytest.param(
            "a", "hush", "a holds no flags, no OAUTH2_PROXY_… lines, no TOML and no alpha configuration", id="text"
        ),
        pytest.param("a", "--scope='hush", "a has a quote that is not closed", id="quote"),
    ],
)
def test_unreadable(name: str, text: str, message: str) -> None:
    """What cannot be read is told without a word of it."""
    with pytest.raises(Unreadable) as caught:
        settings((name, text))
    assert str(caught.value) == message


def test_precedence() -> None:
    """Flags win over the environment, the environment over the TOML file; empty variables are none."""
    toml = ("a.toml", 'scope = "toml"\nprompt = "toml"\nbanner = "toml"')
    variables = ("a.env", "OAUTH2_PROXY_SCOPE=env\nOAUTH2_PROXY_PROMPT=env\nOAUTH2_PROXY_BANNER=")
    found = settings(("a.txt", "--scope=flag"), variables, toml)
    assert [found.text(name) for name in ("scope", "prompt", "banner")] == ["flag", "env", "toml"]


def test_a_list_of_flags_hides_the_files_list() -> None:
    """Flags add up among themselves, not with other sources."""
    found = settings(("a.txt", "--email-domain=a --email-domain=b"), ("a.toml", 'email_domains = ["c"]'))
    assert found.values("email-domain") == ("a", "b")


def test_alpha_replaces_what_it_covers() -> None:
    """With an alpha file, the rest's upstreams, headers, servers and providers do not count, which is told."""
    report = Report()
    alpha = ("a.yaml", "upstreamConfig: {upstreams: [{path: /, uri: 'http://b'}]}")
    found = settings(("a.txt", "--alpha-config=/a.yaml --client-id=x --scope= --email-domain=*"), alpha, report=report)
    assert (found.get("client-id"), found.values("upstream"), found.text("email-domain")) == (None, ("http://b/",), "*")
    assert found.get("alpha-config") is None
    assert report.lines(Part.DIFFERS) == ["--client-id: left out: the alpha configuration speaks of this alone"]


def test_variables_in_flags_and_alpha() -> None:
    """References are replaced by what is known of the environment; others are not known."""
    found = settings(("a.txt", "--client-id=$(ID) --client-secret=${SECRET}"), ID="gate")
    secret = found.get("client-secret")
    assert found.text("client-id") == "gate"
    assert secret is not None
    assert not secret.is_known
    assert settings(("a.yaml", "providers: [{clientID: '${ID}'}]"), ID="gate").text("client-id") == "gate"


def test_from_a_secret() -> None:
    """A variable that comes from a Kubernetes Secret is set, to what is not known."""
    found = settings(("a.yaml", "[{name: OAUTH2_PROXY_CLIENT_ID, valueFrom: {}}]")).get("client-id")
    assert found is not None
    assert (found.is_known, found.variable) == (False, "OAUTH2_PROXY_CLIENT_ID")


def test_names_that_there_are_not() -> None:
    """Flags, keys and variables that oauth2-proxy does not know are named, without their values."""
    report = Report()
    variables = ("a.env", "OAUTH2_PROXY_EMAIL_DOMAIN=hush\nOAUTH2_PROXY_X=hush")
    settings(("a.txt", "--bogus=hush"), variables, ("a.toml", 'colour = "hush"'), report=report)
    assert report.lines(Part.NONE) == [
        "colour: no key of oauth2-proxy 7.15.4, which would refuse it",
        "--bogus: no flag of oauth2-proxy 7.15.4",
        "OAUTH2_PROXY_EMAIL_DOMAIN: no variable of oauth2-proxy 7.15.4, which reads OAUTH2_PROXY_EMAIL_DOMAINS",
        "OAUTH2_PROXY_X: no variable of oauth2-proxy 7.15.4",
    ]


def test_env_lines() -> None:
    """Comments are skipped, quotes taken off."""
    assert read_variables('#A=1\nB = 2\nC="x=y"\nexport D=\'z\n') == {"C": "x=y", "D": "'z"}


def test_repr_shows_no_text() -> None:
    """A file's text may hold secrets."""
    assert "hush" not in repr(Source("a", "hush"))
