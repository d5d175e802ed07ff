"""A look: what is made of the configuration for every page."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.errors import ConfigError
from oidcgate.web.look import MARK, PLAIN, load_look
from tests.config.support import PNG, SVG, document

NAME = 'A <b>"&'


def configured(folder: Path, **look: Any) -> Any:
    """A configuration with a look; files are not looked at."""
    return parse_config(document(prefix="/gate", look=look), folder=folder, files=False)


def test_by_default(tmp_path: Path) -> None:
    """The gate's own name, mark and colour, and no address to ask for."""
    look = load_look(configured(tmp_path))
    assert look == PLAIN
    assert look.brand == f"{MARK}<span>oidcgate</span>"
    assert look.logo_url == look.tag == ""
    assert "--accent:#1d5fd1" in look.style


def test_a_logo(tmp_path: Path) -> None:
    """Is read from the file's own folder, and has an address of its content."""
    (tmp_path / "logo").write_bytes(PNG)
    look = load_look(configured(tmp_path, name=NAME, logo_file="logo", colour="#0B6E4F"))
    assert look.logo is not None
    assert look.logo.media_type == "image/png"
    assert look.logo_url == f"/gate/logo?v={look.tag}"
    assert look.brand == f'<img class="logo" src="{look.logo_url}" alt=""><span>A &lt;b&gt;&quot;&amp;</span>'
    assert "--accent:#0b6e4f" in look.style
    (tmp_path / "logo").write_bytes(SVG)
    assert load_look(configured(tmp_path, logo_file="logo")).tag != look.tag


def test_a_logo_that_went_away(tmp_path: Path) -> None:
    """Between the check and the start is told as any problem of the configuration."""
    with pytest.raises(ConfigError, match=r"^look\.logo_file: .*cannot be read"):
        load_look(configured(tmp_path, logo_file="gone.svg"))
