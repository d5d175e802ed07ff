"""Command lines in files."""

import pytest

from oidcgate.imports.reading_flags import Argument, arguments, tokens
from oidcgate.imports.settings import Unreadable


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("--a=1 --b 2\n# --c\n--d", ["--a=1", "--b", "2", "--d"], id="many-a-line"),
        pytest.param("oauth2-proxy \\\n  --a='x y' \\\n  --b\n", ["oauth2-proxy", "--a=x y", "--b"], id="shell"),
        pytest.param(
            'args:\n- --scope=openid email\n- "--b=c"\n', ["args:", "--scope=openid email", "--b=c"], id="yaml"
        ),
        pytest.param("--a,\n--b,", ["--a", "--b"], id="separators"),
        pytest.param("[Service]\nUser=x\nExecStart=-/bin/o --a=1\n; --b", ["/bin/o", "--a=1"], id="systemd"),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    """Words as the shell, a list in YAML or systemd has them."""
    assert tokens(text, "f") == found


def test_open_quote() -> None:
    """A quote that is not closed is told by the file's name alone."""
    with pytest.raises(Unreadable, match=r"^f has a quote that is not closed$"):
        tokens("--a='hush", "f")


def shown(argument: Argument) -> tuple[str, str, str]:
    """An argument's name, value and what is wrong with it."""
    return argument.spelled, argument.value, argument.what


def test_arguments() -> None:
    """Switches take no word after them; others do; what is no flag is named without its value."""
    found = list(arguments(["oauth2-proxy", "--reverse-proxy", "--scope", "openid", "--force-https=false", "--x=hush"]))
    assert [shown(each) for each in found] == [
        ("--reverse-proxy", "true", ""),
        ("--scope", "openid", ""),
        ("--force-https", "false", ""),
        ("--x", "", "no flag"),
    ]
    assert "hush" not in repr(found)


def test_words_that_belong_to_nothing() -> None:
    """A scope without quotes falls apart, which is told."""
    found = list(arguments(["--scope=openid", "email"]))
    assert found[1].flag is None
    assert found[1].what.startswith("a word after it belongs to no flag")
