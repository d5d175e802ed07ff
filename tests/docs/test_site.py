"""The documentation as a site: it is built without a warning, nothing in it leads nowhere, and nothing is fetched from elsewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import markdown
import pytest
import yaml

from tests.docs.pages import MARKDOWN, REPOSITORY, ROOT, anchors, pages, targets, text_of

GUIDES = [page for page in pages() if page.startswith("docs/")]
TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("image", "href")}
NOT_LOADED = {"canonical", "prev", "next", "alternate"}
STYLE_URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class Html(HTMLParser):
    """What a page is called by, where it leads, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.leads: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Gather."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        for name in ("href", "src"):
            if name not in given or given.get("rel") in NOT_LOADED:
                continue
            (self.loads if (tag, name) in LOADED else self.leads).append(given[name])
        self.loads += [found[1] or found[2] for found in STYLE_URL.finditer(given.get("style", ""))]


class Site:
    """A built site in a folder."""

    def __init__(self, folder: Path, said: str) -> None:
        self.folder = folder
        self.said = said

    @cached_property
    def pages(self) -> dict[Path, Html]:
        """Every page of it."""
        return {path: Html(path.read_text(encoding="utf-8")) for path in sorted(self.folder.rglob("*.html"))}

    def file(self, page: Path, url: str) -> Path:
        """The file that a local address leads to."""
        path = unquote(urlsplit(url).path)
        base = self.folder if path.startswith("/") else page.parent
        found = (base / path.lstrip("/")).resolve() if path else page
        return found / "index.html" if found.is_dir() else found

    def dead(self) -> Iterator[str]:
        """Local links, images and other files that are not there, and anchors that nothing has."""
        for page, html in self.pages.items():
            for url in html.leads + html.loads:
                parts = urlsplit(url)
                if parts.scheme or parts.netloc:
                    continue
                file = self.file(page, url)
                known = self.pages.get(file)
                if not file.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                    yield f"{page.relative_to(self.folder)}: {url}"

    def foreign(self) -> Iterator[str]:
        """What a page, or a style, would load from elsewhere."""
        for page, html in self.pages.items():
            yield from (f"{page.name}: {url}" for url in html.loads if urlsplit(url).netloc)
        for style in self.folder.rglob("*.css"):
            for found in STYLE_URL.finditer(style.read_text(encoding="utf-8")):
                if urlsplit(found[1] or found[2]).netloc:
                    yield f"{style.name}: {found[1] or found[2]}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built as `make docs` does it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return Site(folder, done.stdout)


def test_built_without_a_warning(site: Site) -> None:
    """Nothing that somebody would have to read each time."""
    assert [line for line in site.said.splitlines() if not line.startswith("INFO ")] == []
    assert (site.folder / "index.html").is_file()
    assert "search" in {path.parent.name for path in site.folder.rglob("search_index.json")}


def test_nothing_leads_nowhere(site: Site) -> None:
    """Each local link, image, script and anchor is there."""
    assert len(site.pages) > len(GUIDES)
    assert list(site.dead()) == []


def test_nothing_is_fetched_from_elsewhere(site: Site) -> None:
    """Scripts, styles, fonts and pictures are the site's own."""
    assert any(html.loads for html in site.pages.values())
    assert list(site.foreign()) == []


def test_nothing_asks_another_site_by_script(site: Site) -> None:
    """The theme would ask a forge for figures about a repository that it is told of."""
    assert 'data-md-component="source"' not in (site.folder / "index.html").read_text(encoding="utf-8")


def test_a_broken_site_is_seen(tmp_path: Path) -> None:
    """The judge of links is awake."""
    page = '<a href="there.html#no">x</a><img src="https://elsewhere.example/a.png"><i style="background:url(//b.example/c)">'
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "there.html").write_text('<p id="yes"><a href="gone/">x</a>')
    (tmp_path / "a.css").write_text("@import 'https://c.example/d.css'; p { background: url(data:x) }")
    broken = Site(tmp_path, "")
    assert list(broken.dead()) == ["index.html: there.html#no", "there.html: gone/"]
    assert list(broken.foreign()) == [
        "index.html: https://elsewhere.example/a.png",
        "index.html: //b.example/c",
        "a.css: https://c.example/d.css",
    ]


def configured() -> dict[str, Any]:
    """mkdocs.yml."""
    found = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def in_nav(node: Any) -> Iterator[str]:
    """The pages below a node of the navigation."""
    if isinstance(node, str):
        yield node
    else:
        for below in node.values() if isinstance(node, dict) else node:
            yield from in_nav(below)


def test_every_page_is_in_the_navigation() -> None:
    """Once, and no other."""
    assert sorted(f"docs/{name}" for name in in_nav(configured()["nav"])) == sorted(GUIDES)


@pytest.mark.parametrize("page", [*GUIDES, *TOP])
def test_links_outside_the_guides(page: str) -> None:
    """What leads into the repository leads to something there; what stands beside a page is a path, with its anchor."""
    for url in targets(page):
        path, _, anchor = url.partition("#")
        if url.startswith(REPOSITORY):
            assert (ROOT / path.removeprefix(REPOSITORY)).exists(), url
        elif not urlsplit(url).scheme:
            file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
            assert file.exists(), url
            assert not page.startswith("docs/") or file.is_relative_to(ROOT / "docs"), f"{url}: write {REPOSITORY}…"
            assert not anchor or anchor in anchors(file.relative_to(ROOT).as_posix()), f"{url}: not where it is shown"


@pytest.mark.parametrize("page", GUIDES)
def test_reads_alike(page: str) -> None:
    """The site and a repository show the same lists, tables, blocks and headings."""
    extensions = [
        name for each in configured()["markdown_extensions"] for name in ([each] if isinstance(each, str) else each)
    ]
    here = markdown.markdown(text_of(page), extensions=extensions)
    there = MARKDOWN.render(text_of(page))
    for tag in ("li", "ul", "ol", "table", "tr", "pre", "h2", "h3", "strong", "em", "img"):
        assert len(re.findall(rf"<{tag}\b", here)) == len(re.findall(rf"<{tag}\b", there)), tag


def test_overview_names_every_page() -> None:
    """The first page says of each what it is for."""
    overview = set(targets("docs/index.md"))
    parts = {page for page in in_nav(configured()["nav"]) if not page.startswith("decisions/0")}
    assert parts - {"index.md"} - overview == set()


def test_names_in_the_security_model() -> None:
    """Each module and each test that it names is there."""
    text = text_of("docs/security-model.md")
    modules = set(re.findall(r"`([a-z_/0-9]+\.py)`", text))
    tests = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text))
    assert len(modules) > 20
    assert len(tests) > 40
    assert [name for name in modules if not (ROOT / "oidcgate" / name).is_file()] == []
    assert [
        (file, name)
        for file, name in tests
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    ] == []


def test_every_decision_is_listed() -> None:
    """The decisions' first page leads to each."""
    made = {path.name for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert set(targets("docs/decisions/index.md")) == made
