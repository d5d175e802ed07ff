"""A request to explain, as it is typed."""

import pytest

from oidcgate.errors import ConfigError
from oidcgate.web.question import read_origin, read_url


@pytest.mark.parametrize("url", ["dash.example.com", "ftp://dash.example.com/", "https://", "https://a:b@c/", "/x"])
def test_what_is_no_address(url: str) -> None:
    """Wrong usage, and a password is not repeated."""
    with pytest.raises(ConfigError, match="--url: ") as caught:
        read_url(url)
    assert "a:b" not in str(caught.value)


def test_address_and_origin() -> None:
    """As browsers write them: without a default port, and with what they encode."""
    assert read_url("https://Dash.Example.com:443") == ("dash.example.com", "/")
    assert read_url("http://localhost:80/a%2fb/..?x") == ("localhost", "/a%2fb/..?x")
    assert read_origin("https://Evil.example/") == "https://evil.example"
    assert read_origin("null") == "null"
    with pytest.raises(ConfigError, match="--from: "):
        read_origin("evil")
