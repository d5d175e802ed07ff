"""
What was set: each flag once, by whichever of the sources wins.

Pure. Flags win over the environment, and that over the TOML file; what the alpha file covers, it covers alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from oidcgate.imports.flag import Flag

TRUE = ("1", "t", "T", "true", "TRUE", "True")  # as Go's strconv.ParseBool has it


class Unreadable(ValueError):
    """A file that cannot be understood; the message is for the operator and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Given:
    """
    One setting.

    Attributes:
        spelled: its name as it was written: ``--scope``, ``OAUTH2_PROXY_SCOPE``, ``scope`` or an alpha path.
        values: its values as text; one, but for lists.
        is_known: whether the value stands there; not if it comes from a Kubernetes Secret or an unknown variable.
    """

    flag: Flag
    spelled: str
    values: tuple[str, ...] = field(repr=False)
    is_known: bool = True

    @property
    def text(self) -> str:
        """The value of a flag that is no list."""
        return self.values[-1] if self.values and self.is_known else ""

    @property
    def is_on(self) -> bool:
        """Whether a switch is on."""
        return self.text in TRUE

    @property
    def variable(self) -> str:
        """The environment variable that holds it, or nothing."""
        return self.spelled if self.spelled.startswith("OAUTH2_PROXY_") else ""

    @property
    def is_silent(self) -> bool:
        """Whether it says only what oauth2-proxy does without it."""
        value = str(self.is_on).lower() if self.flag.kind == "bool" else ",".join(self.values)
        return self.is_known and value in ("", self.flag.silent_value)


Layer = Mapping[str, Given]


class Settings:
    """Everything that was set, by the flag's name."""

    def __init__(self, given: Iterable[Given] = ()) -> None:
        self._given = {each.flag.name: each for each in given}

    def __repr__(self) -> str:
        return f"<Settings {', '.join(sorted(self._given))}>"

    def __iter__(self) -> Iterator[Given]:
        return iter(self._given.values())

    def get(self, name: str) -> Given | None:
        """One setting; None when it is not there or empty."""
        given = self._given.get(name)
        return given if given is not None and (any(given.values) or not given.is_known) else None

    def text(self, name: str, default: str = "") -> str:
        """A value, or the default where it is not there or not known."""
        given = self.get(name)
        return (given.text if given is not None else "") or default

    def values(self, name: str) -> tuple[str, ...]:
        """A list's values."""
        given = self.get(name)
        return tuple(value.strip() for value in given.values if value.strip()) if given and given.is_known else ()

    def is_on(self, name: str, *, default: bool = False) -> bool:
        """Whether a switch is on."""
        given = self.get(name)
        return default if given is None or not given.text else given.is_on


def merged(*layers: Layer) -> Settings:
    """Layers, the weakest first."""
    found: dict[str, Given] = {}
    for layer in layers:
        found.update(layer)
    return Settings(found.values())
