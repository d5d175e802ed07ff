"""The device flow's answers."""

import json
from collections.abc import Callable
from itertools import count

import pytest

from oidcgate.doctor.calls import Seen
from oidcgate.doctor.device import NoToken, Terminal, sign_in
from tests.doctor.pieces import ISSUER, Answering, issuer_of, scene_of, seen

STARTED = {"device_code": "d", "user_code": "U", "verification_uri": f"{ISSUER}/device", "interval": 1}
PENDING = seen(400, '{"error": "authorization_pending"}')


async def flow(
    *answers: Seen, audience: str = "", show: Callable[[str], None] = print
) -> tuple[str, list[float], Answering]:
    """The token, the times that were waited, and what was asked."""
    scene, issuer = scene_of(), issuer_of()
    caller = Answering(*answers)
    scene.caller = caller
    issuer.document = {"device_authorization_endpoint": f"{ISSUER}/device/code"}
    waited: list[float] = []
    times = count(0, 9)

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    return (
        await sign_in(
            scene, issuer, Terminal(show, wait, lambda: float(next(times))), client_id="gate", audience=audience
        ),
        waited,
        caller,
    )


async def test_patience() -> None:
    """It is asked again in the issuer's rhythm, more slowly when told so; no refresh token is asked for."""
    lines: list[str] = []
    token, waited, caller = await flow(
        seen(200, json.dumps(STARTED)),
        PENDING,
        seen(400, '{"error": "slow_down"}'),
        seen(200, '{"id_token": "t"}'),
        audience="one",
        show=lines.append,
    )
    assert token == "t"
    assert waited == [1, 1, 6]
    assert lines == [f"Open {ISSUER}/device and sign in; the code is U."]
    assert b"offline_access" not in caller.asked[0][1]
    assert b"audience%3Aserver%3Aclient_id%3Aone" in caller.asked[0][1]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([seen(404, "<html>")], "HTTP 404", id="no-endpoint"),
        pytest.param([seen(200, "[]")], "cannot begin", id="no-code"),
        pytest.param(
            [seen(200, json.dumps(STARTED)), seen(400, '{"error": "expired_token"}')], "expired", id="expired"
        ),
        pytest.param([seen(200, json.dumps(STARTED)), seen(401, '{"error": "invalid_client"}')], "client", id="client"),
        pytest.param([seen(200, json.dumps(STARTED)), seen(200, "{}")], "HTTP 200", id="no-id-token"),
    ],
)
async def test_no_token(answers: list[Seen], words: str) -> None:
    """The error, and what to do."""
    with pytest.raises(NoToken, match=words) as caught:
        await flow(*answers)
    assert "--token-file" in caught.value.fix


async def test_nobody_signs_in() -> None:
    """The code runs out."""
    with pytest.raises(NoToken, match="nobody"):
        await flow(seen(200, json.dumps(STARTED | {"expires_in": 10})), PENDING)
