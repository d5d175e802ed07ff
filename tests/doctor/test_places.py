"""Lines of keys."""

import pytest

from oidcgate.doctor.places import lines_of, place

TEXT = """\
# a comment
provider: &p
  issuer: https://dex.example.com
sites:
  - url: https://a.example.com
    upstream: {url: [https://b, https://c]}
  - url: https://d.example.com
    provider: *p
"""


@pytest.mark.parametrize(
    ("key", "where"),
    [
        pytest.param("provider.issuer", "gate.yaml:3: provider.issuer", id="key"),
        pytest.param("sites[0].upstream.url", "gate.yaml:6: sites[0].upstream.url", id="in-a-list"),
        pytest.param("sites[0].upstream.url[1]", "gate.yaml:6: sites[0].upstream.url[1]", id="item"),
        pytest.param("sites[1].url", "gate.yaml:7: sites[1].url", id="second"),
        pytest.param("provider.ca_file", "gate.yaml:2: provider.ca_file", id="default-in-a-section"),
        pytest.param("sites[1].upstream.ca_file", "gate.yaml:7: sites[1].upstream.ca_file", id="default-in-an-item"),
        pytest.param("session.store", "gate.yaml: session.store", id="section-that-is-not-there"),
        pytest.param("sites[1].provider.issuer", "gate.yaml:3: sites[1].provider.issuer", id="alias"),
        pytest.param("Dex: staticClients", "Dex: staticClients", id="not-ours"),
    ],
)
def test_place(key: str, where: str) -> None:
    """The line of the key, or of the nearest section that is written."""
    assert place(key, file="gate.yaml", lines=lines_of(TEXT)) == where


def test_empty_and_circular() -> None:
    """A file without keys has no lines, and a list in itself ends."""
    assert lines_of("# nothing\n") == {}
    assert lines_of("a: &a [*a]\n") == {"a": 1, "a[0]": 1}
