"""The real nginx, with one file of configuration in a folder of its own."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.lab.peers import listening, said_by

PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
FRAME = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr;
{modules}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def version() -> str:
    """Such as 1.22.1."""
    return said_by(PROGRAM, "-v").strip().rpartition("/")[2]


def written(http: str, folder: Path, modules: tuple[str, ...] = ()) -> Path:
    """A whole configuration around what stands in ``http{}``."""
    file = folder / "nginx.conf"
    loads = "".join(f"load_module {module};\n" for module in modules)
    file.write_text(FRAME.format(folder=folder, http=http, modules=loads))
    return file


def check(http: str, folder: Path) -> str:
    """
    What nginx says of a configuration that it takes.

    Raises:
        subprocess.CalledProcessError: it does not.
    """
    return said_by(PROGRAM, "-t", "-q", "-e", "stderr", "-p", str(folder), "-c", str(written(http, folder)))


@asynccontextmanager
async def running(http: str, *, port: int, modules: tuple[str, ...] = ()) -> AsyncIterator[None]:
    """nginx with this in its ``http{}``, listening on a port."""
    with tempfile.TemporaryDirectory(prefix="oidcgate-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # workers of a root's nginx are somebody else, and keep long bodies here
        file = written(http, folder, modules)
        async with listening(PROGRAM, "-e", "stderr", "-p", folder, "-c", file, port=port):
            yield
