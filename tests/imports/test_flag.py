"""One flag."""

from oidcgate.imports.flag import Flag
from oidcgate.imports.report import Part


def test_key_in_toml() -> None:
    """The name with underscores, where no other is given."""
    assert Flag("cookie-name", "string", None, "x").toml_key == "cookie_name"
    assert Flag("cookie-domain", "strings", None, "x", key="cookie_domains").toml_key == "cookie_domains"


def test_silent_values() -> None:
    """A switch that is off and a number that is 0 say nothing, unless another default is known."""
    assert Flag("a", "bool", Part.NONE, "x").silent_value == "false"
    assert Flag("a", "int", Part.NONE, "x").silent_value == "0"
    assert Flag("a", "bool", Part.NONE, "x", "true").silent_value == "true"
    assert Flag("a", "string", Part.NONE, "x").silent_value == ""
