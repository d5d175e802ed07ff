"""The alpha configuration's keys."""

import pytest

from oidcgate.imports.alpha_keys import HEADERS, IGNORED, PROVIDER, SERVER, UPSTREAM, WITHOUT_FLAG
from oidcgate.imports.flags import FLAGS


@pytest.mark.parametrize(
    "table", [PROVIDER, SERVER, UPSTREAM, HEADERS], ids=["provider", "server", "upstream", "headers"]
)
def test_every_key_says_a_flag(table: dict[object, str]) -> None:
    """Keys lead to flags that there are."""
    assert set(table.values()) <= set(FLAGS)


def test_a_key_is_in_one_table_only() -> None:
    """What has no flag is not mapped as well, but for the TLS of metrics, which has less."""
    assert not set(WITHOUT_FLAG) & set(PROVIDER)
    assert not IGNORED & {*PROVIDER, *WITHOUT_FLAG}
