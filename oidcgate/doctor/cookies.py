"""
The cookie: browsers keep it, on every host that shares it, and nobody else's gate overwrites it.

Pure.
"""

from oidcgate.config.addresses import DEFAULT_PORT
from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.scene import Scene, Visit
from oidcgate.session.cookies import cookie_names


async def check_cookies(scene: Scene) -> list[Said]:
    """The cookies of all sites that are walked."""
    cookie = scene.config.session.cookie
    if cookie.domain is None:
        said = [_alone(visit, cookie.name) for visit in scene.public]
        troubles = [each for each in said if each.status != "ok"]
        return troubles or said[:1]
    schemes = {site.origin.scheme for site in scene.config.sites}
    if len(schemes) > 1:
        return [
            fail(
                f"one cookie for {cookie.domain} cannot serve http and https: its name differs",
                "session.cookie.domain",
                "let all sites be https, or leave it out to keep one cookie a host",
            )
        ]
    name = cookie_names(cookie.name, secure="https" in schemes, domain=cookie.domain).session.decode()
    return [ok(f"one cookie, {name}, for all hosts below {cookie.domain}; each of them could take it")]


def _alone(visit: Visit, configured: str) -> Said:
    origin = visit.config.origin
    secure = origin.scheme == "https"
    name = cookie_names(configured, secure=secure).session.decode()
    if not secure:
        return ok(f"{name}; on http without the prefix __Host-, which is for this machine only")
    if origin.port != DEFAULT_PORT[origin.scheme] and name == "__Host-oidcgate":
        return warn(
            f"{origin.authority} has a port, and cookies ignore ports: another gate on this host would sign people out",
            "session.cookie.name",
            "name it after this gate, if there is another one",
        )
    return ok(f"{name}, one for each host, which no other host can read or set")
