"""
One flag of oauth2-proxy, and what becomes of it.

Pure.
"""

from dataclasses import dataclass
from typing import Literal

from oidcgate.imports.report import Part

Kind = Literal["string", "strings", "bool", "int", "duration"]


@dataclass(frozen=True, slots=True)
class Flag:
    """
    A flag.

    Attributes:
        part: where the report names it; None when code maps it and says itself what became of it.
        what: the sentence for the report; of a mapped flag, our key.
        default: a value that is not worth a word, since it is what oauth2-proxy does anyway.
        key: its name in the TOML file (upper-case in the environment), where that is not just the flag's with ``_``.
        secret: its value is never shown or copied.
        restricts: it keeps people out, so that leaving it away must not let them in.
    """

    name: str
    kind: Kind
    part: Part | None
    what: str
    default: str = ""
    key: str = ""
    secret: bool = False
    restricts: bool = False

    @property
    def toml_key(self) -> str:
        """Its name in the TOML file."""
        return self.key or self.name.replace("-", "_")

    @property
    def silent_value(self) -> str:
        """What a file may say without any effect; the empty text for most."""
        return self.default or ("false" if self.kind == "bool" else "0" if self.kind == "int" else "")
