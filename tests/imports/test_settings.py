"""What was set, and by which source."""

import pytest

from oidcgate.imports.settings import Settings, merged
from tests.imports.support import given


def test_the_last_layer_wins() -> None:
    """Flags are merged last, so they win."""
    toml = {"scope": given("scope", "a"), "client-id": given("client-id", "x")}
    settings = merged(toml, {"scope": given("scope", "b")})
    assert (settings.text("scope"), settings.text("client-id")) == ("b", "x")


@pytest.mark.parametrize(("text", "on"), [("true", True), ("1", True), ("T", True), ("false", False), ("yes", False)])
def test_switches(text: str, on: bool) -> None:
    """Switches are read as Go reads them."""
    settings = Settings([given("reverse-proxy", text)])
    assert settings.is_on("reverse-proxy") is on
    assert settings.is_on("force-https", default=True) is True


def test_empty_and_unknown_values() -> None:
    """An empty value is none; an unknown one is there without a text."""
    settings = Settings([given("scope", ""), given("client-id", is_known=False), given("email-domain", " a ", "")])
    assert settings.get("scope") is None
    unknown = settings.get("client-id")
    assert unknown is not None
    assert (unknown.text, settings.text("client-id", "default")) == ("", "default")
    assert settings.values("email-domain") == ("a",)
    assert settings.values("upstream") == ()


def test_a_value_shows_in_no_repr() -> None:
    """Secrets are among the values."""
    secret = given("client-secret", "hush")
    assert "hush" not in repr(secret)
    assert repr(Settings([secret])) == "<Settings client-secret>"


def test_variable() -> None:
    """A setting from the environment knows its variable."""
    assert given("client-secret", "x", spelled="OAUTH2_PROXY_CLIENT_SECRET").variable == "OAUTH2_PROXY_CLIENT_SECRET"
    assert given("client-secret", "x").variable == ""
