"""From a file to a configuration, or to everything wrong with it at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from oidcgate.config import load_config
from oidcgate.config.load import fields_at, near_match, parse_config, yaml_path
from oidcgate.errors import ConfigError
from tests.config.support import document, problems, provider, site, upstream

GOOD = """
provider: {issuer: https://dex.example.com, client_id: gate}
sites:
  - url: https://ui.example.com
    upstream: {url: "http://ui:8080"}
"""


def problems_of(path: Path, text: str | bytes) -> list[str]:
    """Everything wrong with a file of this content."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, files=False)
    return [str(problem) for problem in caught.value.problems]


def test_load(tmp_path: Path) -> None:
    """A good file becomes a configuration."""
    path = tmp_path / "gate.yaml"
    path.write_text(GOOD)
    assert load_config(path).sites[0].url == "https://ui.example.com"


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or a folder in its place, says so."""
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=f"{path} cannot be read: {reason}"):
            load_config(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("listen: [\n", "expected the node content", id="open-list"),
        pytest.param("a: b: c\n", "mapping values are not allowed here", id="two-colons"),
        pytest.param("a:\n\t- b\n", "cannot start any token", id="tab"),
        pytest.param("a: 1\n---\nb: 2\n", "expected a single document", id="two-documents"),
        pytest.param("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor", id="code"),
        pytest.param("a: *b\n", "found undefined alias", id="unknown-alias"),
        pytest.param("? [a]\n: b\n", "found unhashable key", id="a-list-as-key"),
        pytest.param("a: 2024-13-45\n", "month must be in", id="a-date-that-is-none"),
        pytest.param("a: !!int x\n", "invalid literal", id="a-number-that-is-none"),
        pytest.param(b"a: \xff\n", "can't decode byte", id="not-utf-8"),
        pytest.param("a: \x07\n", "special characters are not allowed", id="control-character"),
        pytest.param("[" * 2000, "recursion", id="too-deep"),
    ],
)
def test_not_yaml(tmp_path: Path, content: str | bytes, message: str) -> None:
    """What YAML's safe subset cannot read is one problem that names the file and the reason."""
    (problem,) = problems_of(tmp_path / "gate.yaml", content)
    assert problem.startswith(f"{tmp_path}/gate.yaml is not YAML: ")
    assert message in problem


@pytest.mark.parametrize("content", ["", "# nothing\n", "- a\n", "text\n", "42\n", "null\n"])
def test_no_mapping(tmp_path: Path, content: str) -> None:
    """A file without keys says which it needs."""
    found = problems_of(tmp_path / "gate.yaml", content)
    assert found == ["the file must hold keys such as listen, provider and sites"]


def test_twice(tmp_path: Path) -> None:
    """Each key that is written twice is a problem, with both lines; the others are told as well."""
    text = GOOD + "    identity: token\n    identity: none\nprefix: x\nprovider: {issuer: a, issuer: b}\n"
    assert problems_of(tmp_path / "gate.yaml", text) == [
        "sites[0].identity: written twice, in lines 6 and 7",
        "provider: written twice, in lines 2 and 9",
        "provider.issuer: written twice, in lines 9 and 9",
        "prefix: String should match pattern '^/[a-z0-9_-]+$'",
        "provider.issuer: 'b' must begin with https:// (or http:// on this machine)",
        "provider.client_id: this key is needed",
    ]


def test_twice_only(tmp_path: Path) -> None:
    """A key that is written twice is refused even when all else is good."""
    found = problems_of(tmp_path / "gate.yaml", GOOD + "prefix: /a\nprefix: /a\n")
    assert found == ["prefix: written twice, in lines 6 and 7"]


def test_aliases(tmp_path: Path) -> None:
    """YAML's anchors and merges work."""
    path = tmp_path / "gate.yaml"
    path.write_text(
        GOOD.replace("upstream: {", "upstream: &ui {") + "  - url: https://b\n    upstream: {<<: *ui, ui: headlamp}\n"
    )
    second = load_config(path).sites[1]
    assert (second.upstream.url, second.upstream.ui) == ("http://ui:8080", "headlamp")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(document(lissten=[]), "lissten: unknown key; did you mean 'listen'?", id="top"),
        pytest.param(provider(isuer="x"), "provider.isuer: unknown key; did you mean 'issuer'?", id="section"),
        pytest.param(
            provider(**{"client-id": "x"}), "provider.client-id: unknown key; did you mean 'client_id'?", id="hyphen"
        ),
        pytest.param(
            document(sites=[site(), site(url="https://b", acces={})]),
            "sites[1].acces: unknown key; did you mean 'access'?",
            id="in-a-list",
        ),
        pytest.param(
            document(session={"cookie": {"nmae": "x"}}),
            "session.cookie.nmae: unknown key; did you mean 'name'?",
            id="two-deep",
        ),
        pytest.param(
            document(sites=[site(access={"rules": [{"path": "/", "group": []}]})]),
            "sites[0].access.rules[0].group: unknown key; did you mean 'groups'?",
            id="list-in-a-list",
        ),
        pytest.param(
            document(log={"xyz": 1}), "log.xyz: unknown key; known here: format, level, access", id="nothing-near"
        ),
        pytest.param(document(log={"str": 1}), "log.str: unknown key; known here: format, level, access", id="a-type"),
        pytest.param(
            document(tls={"cert_file": "a", "key_file": "b", "cert": 1}), "tls.cert: unknown key; did", id="tls"
        ),
    ],
)
def test_unknown(given: dict[str, Any], expected: str) -> None:
    """An unknown key is named with its path and what was probably meant."""
    (problem,) = problems(given)
    assert problem.startswith(expected)


def test_secret_in_the_file() -> None:
    """A secret cannot stand in the file itself: the answer names the key for a file, and not the secret."""
    (problem,) = problems(provider(client_secret="geheim"))
    assert problem == "provider.client_secret: unknown key; did you mean 'client_secret_env'?" or (
        problem == "provider.client_secret: unknown key; did you mean 'client_secret_file'?"
    )


@pytest.mark.parametrize("given", [document(sites={"badge": 1}), document(sites=[1]), document(session=[])])
def test_sections_of_the_wrong_type(given: dict[str, Any]) -> None:
    """Are named, and break nothing else."""
    assert all("Input should be a valid" in text for text in problems(given))


def test_all_at_once() -> None:
    """Everything wrong is told in one go: unknown and missing keys, and values."""
    found = problems(
        {
            "lisen": [],
            "workers": "many",
            "look": {"colour": "blue"},
            "provider": {"issuer": "dex", "scope": []},
            "session": {"idle": 3600},
            "sites": [{"url": "https://ui.example.com", "upstrem": {}}],
        }
    )
    assert [text.split(":")[0] for text in found] == [
        "workers",
        "workers",
        "provider.issuer",
        "provider.client_id",
        "provider.scope",
        "session.idle",
        "sites[0].upstrem",
        "look.colour",
        "lisen",
    ]


def test_rules_despite_unknown_keys() -> None:
    """Where only keys are unknown, the rules between the others are checked too."""
    found = problems(document(lisen=[], workers=0, sites=[site(url="http://ui.example.com", acess={})]))
    assert [text.split(":")[0] for text in found] == ["sites[0].acess", "lisen", "workers", "sites[0].url"]


def test_not_a_text_key() -> None:
    """A key that is no text is named as well."""
    assert any("42" in text for text in problems(document(**{}) | {42: "x"}))


def test_each_problem_once() -> None:
    """A list with a wrong item is one problem, told at the item."""
    found = problems(upstream(url=["http://a", 5]))
    assert found == ["sites[0].upstream.url[1]: Input should be a valid string"]


@pytest.mark.parametrize(
    ("location", "path"),
    [
        pytest.param((), "", id="top"),
        pytest.param(("sites", 0, "url"), "sites[0].url", id="index"),
        pytest.param(("workers", "literal['auto']"), "workers", id="union-of-values"),
        pytest.param(("sites", 0, "upstream", "url", "tuple[str, ...]", 1), "sites[0].upstream.url[1]", id="union"),
        pytest.param(("provider", "client-id"), "provider.client-id", id="hyphen-kept"),
    ],
)
def test_yaml_path(location: tuple[str | int, ...], path: str) -> None:
    """A location reads as people write it."""
    assert yaml_path(location) == path


def test_fields_at() -> None:
    """A location inside a list or an optional section leads to that section's keys; a leaf has none."""
    assert fields_at(("tls",)) == ["cert_file", "key_file"]
    assert fields_at(("sites", 3, "access"))[:2] == ["groups", "emails"]
    assert fields_at(("prefix",)) == []
    assert near_match(("sites", 0, "uri")) == "; did you mean 'url'?"


def test_paths_from_the_files_folder(tmp_path: Path) -> None:
    """Relative paths, given or by default, are taken from the configuration's folder."""
    given = document(
        tls={"cert_file": "tls.crt", "key_file": "/etc/tls.key"},
        provider={"issuer": "https://d", "client_id": "c", "client_secret_file": "secret", "ca_file": "ca.pem"},
        session={"keys_file": "keys"},
        sites=[site(upstream={"url": "https://ui", "ca_file": "../ui.pem"})],
    )
    config = parse_config(given, folder=tmp_path, files=False)
    assert config.tls is not None
    assert config.tls.cert_file == f"{tmp_path}/tls.crt"
    assert config.tls.key_file == "/etc/tls.key"
    assert config.provider.client_secret_file == f"{tmp_path}/secret"
    assert config.provider.ca_file == f"{tmp_path}/ca.pem"
    assert config.session.keys_file == f"{tmp_path}/keys"
    assert config.sites[0].upstream.ca_file == f"{tmp_path}/../ui.pem"
    assert Path(parse_config(document(), folder=tmp_path).session.state_dir) == tmp_path / ".oidcgate"


def test_paths_change_nothing_else(tmp_path: Path) -> None:
    """Every other value is the same after paths were made absolute, small durations included."""
    given = document(limits={"header_timeout": "1001ms"}, admin=None, workers=1)
    config = parse_config(given, folder=tmp_path, files=False)
    assert config.limits.header_timeout == pytest.approx(1.001)
    assert config.admin is None
    dumped = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert parse_config(dumped, folder=tmp_path, files=False) == config
