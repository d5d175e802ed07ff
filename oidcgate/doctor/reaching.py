"""
What to do about an address that cannot be reached: the one key that is wrong, and how to put it right.

Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.stages import Certificate, Unreached

SOON = 14 * 86400.0  # seconds before its end in which a certificate is worth a word
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys that a way goes by; ``ca`` and ``name`` are empty where nothing of ours decides them."""

    what: str
    address: str
    ca: str = ""
    name: str = ""


def unreached(error: Unreached, settings: Settings, *, names: Sequence[str] = ()) -> Said:
    """
    The finding about a call that ended early.

    Args:
        names: what the certificate is for, where that is known.
    """
    match error.stage:
        case "name":
            todo = "correct the host name, or the DNS that this machine or pod asks"
        case "tcp":
            todo = f"start {settings.what}, correct host and port, or let a firewall or NetworkPolicy pass this way"
        case "timeout":
            todo = "see whether a firewall or NetworkPolicy swallows this way, or whether the other side is overloaded"
        case "reply":
            todo = f"point it at {settings.what}; what listens there is something else"
        case "tls":
            return _tls(error, settings, names)
    return fail(str(error), settings.address, todo)


def _tls(error: Unreached, settings: Settings, names: Sequence[str]) -> Said:
    theirs = f"{settings.what}: its certificate"
    match error.reason:
        case "plain":
            return fail(str(error), settings.address, "write http://, or name the port that speaks TLS")
        case "expired" | "early":
            return fail(str(error), theirs, f"renew the certificate of {settings.what}, or set a wrong clock right")
        case "mismatch":
            shown = f"; it is for {', '.join(names)}" if names else ""
            if not settings.name:
                return fail(
                    f"{error}{shown}", settings.address, "use a host name that the certificate has, or renew it"
                )
            todo = f"set it to {names[0]}" if names else "set it to a name that the certificate has"
            return fail(f"{error}{shown}", settings.name, todo)
        case _ if settings.ca:
            return fail(
                str(error), settings.ca, f"name a file with the CA that signed the certificate of {settings.what}"
            )
    return fail(str(error), theirs, "serve the whole chain, from an authority that is trusted here")


def certified(certificate: Certificate, now: float, settings: Settings) -> Said:
    """The finding about a certificate that was accepted."""
    left = certificate.expires - now
    if left < SOON:
        return warn(
            f"its certificate ends in {max(left, 0) / DAY:.0f} days",
            f"{settings.what}: its certificate",
            "renew it now, and see why that did not happen by itself",
        )
    return ok(f"its certificate is good for another {left / DAY:.0f} days")
