"""Pictures are known by their content, and only small ones are taken."""

from pathlib import Path

import pytest

from oidcgate.config.picture import MOST, UnusablePicture, kind_of, read_picture
from tests.config.support import PNG, SVG

BOMB = (
    b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg"><text>&b;</text></svg>'
)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", id="jpeg"),
        pytest.param(b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp", id="webp"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", None, id="wave"),
        pytest.param(b"....\x24\0\0\0WEBPVP8 ", None, id="no riff"),
        pytest.param(SVG, "image/svg+xml", id="svg"),
        pytest.param(
            b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n' + SVG, "image/svg+xml", id="xml"
        ),
        pytest.param(b"\xef\xbb\xbf" + SVG, "image/svg+xml", id="svg with a mark"),
        pytest.param(SVG.decode().encode("utf-16"), "image/svg+xml", id="utf-16"),
        pytest.param(b"<!DOCTYPE svg>" + SVG, "image/svg+xml", id="doctype"),
        pytest.param(b"<svg/>", None, id="svg of no namespace"),
        pytest.param(b'<html xmlns="http://www.w3.org/1999/xhtml">' + SVG + b"</html>", None, id="page with an svg"),
        pytest.param(SVG + b"<p>", None, id="svg and more"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?>' + SVG, None, id="encoding that nobody knows"),
        pytest.param(BOMB, None, id="entities"),
        pytest.param(b"GIF89a", None, id="gif"),
        pytest.param(b"<!doctype html><script>", None, id="html"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_kinds(data: bytes, media_type: str | None) -> None:
    """By what is in it; other kinds are none."""
    assert kind_of(data) == media_type


def test_the_name_says_nothing(tmp_path: Path) -> None:
    """A PNG may be called anything."""
    file = tmp_path / "logo.svg"
    file.write_bytes(PNG)
    picture = read_picture(str(file))
    assert (picture.data, picture.media_type) == (PNG, "image/png")


def test_the_largest(tmp_path: Path) -> None:
    """64 KiB are taken, a byte more is not."""
    file = tmp_path / "logo"
    file.write_bytes(PNG.ljust(MOST, b"\0"))
    assert len(read_picture(str(file)).data) == MOST
    file.write_bytes(PNG.ljust(MOST + 1, b"\0"))
    with pytest.raises(UnusablePicture, match="larger than 64 KiB"):
        read_picture(str(file))


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"GIF89a", "is no PNG, SVG, WebP or JPEG")])
def test_what_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Is told with the file's name."""
    file = tmp_path / "logo.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnusablePicture, match=f"logo.png {said}"):
        read_picture(str(file))
