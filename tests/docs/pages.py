"""The pages that people read, and the blocks and commands in them, as repositories show them (CommonMark)."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/oidcgate/oidcgate/blob/main/"
SHELLS = ("sh", "bash", "console")
MARKDOWN = MarkdownIt("commonmark").enable("table")
COMMENT = re.compile(r"""^((?:[^'"#]|'[^']*'|"(?:\\.|[^"\\])*"|(?<!\s)#)*?)\s*(?:(?:^|(?<=\s))#.*)?$""")
HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence (from 1), the word after the fence, and the text in it."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, by its path in the repository; the guides and what stands beside them at the top."""
    guides = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *guides]


def text_of(page: str) -> str:
    """A page's Markdown."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """A page's fenced blocks, those in lists too."""
    for token in MARKDOWN.parse(text_of(page)):
        if token.type == "fence" and token.map is not None:
            yield Block(page, token.map[0] + 1, token.info.partition(" ")[0], token.content)


def commands(block: Block) -> list[str]:
    """A shell block's commands: comments left out, lines that go on joined, a here-document kept with its command."""
    lines = iter(block.text.splitlines())
    found: list[str] = []
    for line in lines:
        command = line
        if block.kind == "console":
            if not line.startswith("$ "):
                continue  # what the command printed
            command = line.removeprefix("$ ")
        while command.endswith("\\"):
            command = command[:-1].rstrip() + " " + next(lines).strip()
        if document := HEREDOC.search(command):
            rest = iter(lines)
            while (more := next(rest)) != document[1]:
                command += f"\n{more}"
            command += f"\n{document[1]}"
        elif bare := COMMENT.match(command):
            command = bare[1].strip()
        if command:
            found.append(command)
    return found


def shell_commands(page: str) -> list[str]:
    """Every command that a page tells people to type, in order."""
    return [command for block in blocks(page) if block.kind in SHELLS for command in commands(block)]


def yaml_blocks(page: str) -> Iterator[tuple[Block, list[Any]]]:
    """A page's YAML blocks with their documents."""
    for block in blocks(page):
        if block.kind in ("yaml", "yml"):
            yield block, [found for found in yaml.safe_load_all(block.text) if found is not None]


def slug(heading: str) -> str:
    """A heading's anchor where a repository shows the page."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings where a repository shows it."""
    tokens = MARKDOWN.parse(text_of(page))
    inner = [after for before, after in itertools.pairwise(tokens) if before.type == "heading_open"]
    return {slug("".join(each.content for each in token.children or ())) for token in inner}


def targets(page: str) -> Iterator[str]:
    """Where a page's links and images lead."""
    for token in MARKDOWN.parse(text_of(page)):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield str(child.attrs.get("href") or child.attrs.get("src"))
