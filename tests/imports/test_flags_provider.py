"""Flags of one subject: each says what becomes of it."""

import pytest

from oidcgate.imports.flag import Flag
from oidcgate.imports.flags_provider import PROVIDER


@pytest.mark.parametrize("flag", PROVIDER, ids=lambda flag: flag.name)
def test_each_flag_has_a_sentence(flag: Flag) -> None:
    """A mapped flag names our key, another one the reason, in a sentence that goes on after a colon."""
    assert flag.what
    assert not flag.what.endswith(".")
    assert flag.part is not None or not flag.restricts
