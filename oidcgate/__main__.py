"""`python -m oidcgate` is the same as `oidcgate`."""

from oidcgate.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
