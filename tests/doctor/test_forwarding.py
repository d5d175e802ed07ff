"""The proxies that ask."""

import pytest

from oidcgate.doctor.forwarding import check_peers
from oidcgate.doctor.scene import Bearer
from tests.doctor.pieces import claims_of, scene_of


@pytest.mark.parametrize(
    ("peers", "size", "headers", "keys"),
    [
        pytest.param([], 0, ["authorization"], [""], id="none"),
        pytest.param(["10.0.0.1"], 3000, ["authorization"], [""], id="good"),
        pytest.param(["10.0.0.0/8"], 0, ["authorization"], ["forward_auth.peers"], id="wide"),
        pytest.param(["fd00::/16"], 0, ["authorization"], ["forward_auth.peers"], id="wide-6"),
        pytest.param(["10.0.0.1"], 4000, ["authorization"], ["forward_auth.headers"], id="large-token"),
        pytest.param(["10.0.0.1"], 4000, ["x-auth-request"], [""], id="token-is-not-told"),
    ],
)
async def test_peers(peers: list[str], size: int, headers: list[str], keys: list[str]) -> None:
    """Few addresses, and answers that fit."""
    scene = scene_of({"forward_auth": {"peers": peers, "headers": headers}})
    if size:
        scene.bearer = Bearer("x" * size, claims_of(), scene.issuers[0], "gate")
    assert [said.key for said in await check_peers(scene)] == keys
