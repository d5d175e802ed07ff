"""
A browser command for the plugin: follows a login to its end, and notes in a file that it was opened.

`python -m tests.kubectl.follow FILE LOGIN URL`
"""

import asyncio
import sys
from pathlib import Path

from tests.support.browser import Browser


async def follow(file: Path, login: str, url: str) -> None:
    """Sign in; the file gets a line for each tab, with the page that it ended on."""
    page = await Browser().sign_in(url, login)
    with file.open("a") as opened:
        opened.write(f"{page.status} {page.text.partition('<h1>')[2].partition('</h1>')[0]}\n")


if __name__ == "__main__":
    asyncio.run(follow(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
