"""
A token by the device flow: the doctor shows a code, a person signs in with it in any browser.

Edge by its calls. Rules of this file:
- Only a client without a secret may: Dex writes a secret into the address that the browser opens.
- Nothing is kept, and offline_access is not asked for: Dex has one refresh token a person and client, so that a second
  one would end what the gate has.

Sources: RFC 8628 §3; OIDC Core §3.1.3.3.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from oidcgate.doctor.calls import Seen
from oidcgate.doctor.issuer import AUDIENCE
from oidcgate.doctor.scene import Issuer, Scene
from oidcgate.errors import OidcgateError

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
INTERVAL: Final = 5  # seconds, where the issuer says nothing (RFC 8628 §3.2)
LONGEST: Final = 600.0  # seconds that a person is waited for


class NoToken(OidcgateError):
    """The flow gave no token; ``fix`` says what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Terminal:
    """How the flow speaks with a person, and waits for them, by a clock of seconds."""

    show: Callable[[str], None]
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    timer: Callable[[], float] = time.monotonic


async def sign_in(scene: Scene, issuer: Issuer, terminal: Terminal, *, client_id: str, audience: str = "") -> str:
    """
    An ID token for a client, and for one cluster where ``audience`` names it.

    Raises:
        NoToken: there is none.
        Unreached: the issuer does not answer.
    """
    endpoint = issuer.document.get("device_authorization_endpoint")
    if not isinstance(endpoint, str):
        raise NoToken("the issuer has no device flow", "give an ID token with --token-file")
    scopes = [scope for scope in issuer.section.scopes if scope != "offline_access"]
    scopes += [AUDIENCE + audience] if audience else []
    client = {"client_id": client_id}
    began = await _post(scene, issuer, endpoint, {**client, "scope": " ".join(scopes)})
    shown = _object(began)
    if began.status != 200 or not isinstance(shown.get("device_code"), str):
        raise NoToken(f"the device flow cannot begin: {_error(began)}", "give an ID token with --token-file")
    where = shown.get("verification_uri_complete") or shown.get("verification_uri")
    terminal.show(f"Open {where} and sign in; the code is {shown.get('user_code')}.")
    return await _poll(
        scene, issuer, {**client, "grant_type": GRANT, "device_code": shown["device_code"]}, shown, terminal
    )


async def _poll(scene: Scene, issuer: Issuer, form: dict[str, str], shown: dict[str, Any], terminal: Terminal) -> str:
    interval = _seconds(shown.get("interval"), INTERVAL)
    until = terminal.timer() + min(_seconds(shown.get("expires_in"), LONGEST), LONGEST)
    while terminal.timer() < until:
        await terminal.wait(interval)
        seen = await _post(scene, issuer, issuer.known.token_endpoint, form)
        if seen.status == 200 and isinstance(token := _object(seen).get("id_token"), str):
            return token
        match _error(seen):
            case "authorization_pending":
                continue
            case "slow_down":
                interval += INTERVAL
            case error:
                todo = "in Dex the client must be `public: true`, without redirectURIs; or use --token-file"
                raise NoToken(f"the device flow ended: {error}", todo)
    raise NoToken("nobody signed in", "run the doctor again, and sign in at the address that it shows")


async def _post(scene: Scene, issuer: Issuer, url: str, form: dict[str, str]) -> Seen:
    data = urlencode(form).encode()
    return await scene.caller.call(issuer.inside(url), issuer.way, method="POST", headers=FORM, data=data)


def _object(seen: Seen) -> dict[str, Any]:
    """The JSON object of a reply; Dex sends one as text/plain here."""
    try:
        found = json.loads(seen.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(seen: Seen) -> str:
    return str(_object(seen).get("error") or f"HTTP {seen.status}")[:80]


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, int) and value > 0 else default
