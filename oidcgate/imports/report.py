"""
What is told about an import: four parts, a line a setting.

Pure. A line never quotes a value that may be secret; whoever adds a line sees to that.
"""

import textwrap
from enum import Enum

WIDTH = 120


class Part(Enum):
    """The parts, in the order in which they are printed."""

    TAKEN = "Taken over"
    DIFFERS = "Differs"
    SAFER = "Safer by default now"
    NONE = "No counterpart"


class Report:
    """Lines by part, each one once."""

    def __init__(self) -> None:
        self._lines: dict[Part, list[str]] = {part: [] for part in Part}

    def __repr__(self) -> str:
        return f"<Report {', '.join(f'{part.name}: {len(lines)}' for part, lines in self._lines.items())}>"

    def add(self, part: Part, subject: str, text: str) -> None:
        """
        One line.

        Args:
            subject: the setting as the person wrote it, such as ``--scope``; empty for what concerns no single one.
        """
        line = f"{subject}: {text}" if subject else text
        if line not in self._lines[part]:
            self._lines[part].append(line)

    def lines(self, part: Part) -> list[str]:
        """What one part holds."""
        return list(self._lines[part])

    def render(self) -> str:
        """The whole report as text."""
        blocks = []
        for part, lines in self._lines.items():
            told = [textwrap.fill(line, WIDTH, initial_indent="  - ", subsequent_indent="    ") for line in lines]
            blocks.append("\n".join([f"{part.value}:", *(told or ["  (nothing)"])]))
        return "\n\n".join(blocks) + "\n"
