"""
Inside the sandbox, as the image's user: starts what the image starts, asks what its health check asks, and stops it.

A container engine's part. It is given to the sandbox's own Python by -c, with one JSON argument, and prints
one JSON object; so it imports nothing of ours.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path


def until(program: "subprocess.Popen[str]", words: str) -> str:
    """What a program says, up to a line with some words."""
    said = ""
    for line in program.stdout or ():
        said += line
        if words in line:
            return said
    raise SystemExit(f"it ended without {words!r}:\n{said}")


def asked(command: list[str]) -> int:
    """How a health check ends."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def written(paths: list[str]) -> list[str]:
    """Those of some paths that could be written."""
    found = []
    for path in paths:
        try:
            Path(path).write_text("x")
        except OSError:
            continue
        found.append(path)
        Path(path).unlink()
    return found


def main() -> None:
    """One life of the program."""
    given = json.loads(sys.argv[1])
    before = {name: asked(command) for name, command in given["health"].items()}
    program = subprocess.Popen(given["command"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = until(program, given["ready"])
    status = Path(f"/proc/{program.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    during = {name: asked(command) for name, command in given["health"].items()}
    could_write = written(given["paths"])
    program.send_signal(signal.Signals[given["stop"]])
    said += program.communicate()[0]
    report = {
        "before": before,
        "during": during,
        "written": could_write,
        "code": program.returncode,
        "users": facts["Uid"].split(),
        "groups": facts["Gid"].split(),
        "said": said,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
