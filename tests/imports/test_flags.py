"""The table of flags: all of them, and by every name that they have."""

from pathlib import Path

from oidcgate.imports.flags import BY_KEY, BY_VARIABLE, FLAGS
from oidcgate.imports.flags_provider import PROVIDER
from oidcgate.imports.flags_server import SERVER
from oidcgate.imports.flags_session import SESSION

LIST = Path(__file__).parent.parent / "cli" / "oauth2_proxy_flags.txt"


def test_every_flag_of_the_program_is_there_and_none_besides() -> None:
    """The table has exactly the flags of oauth2-proxy 7.15.4's help, each of its kind."""
    wanted = dict(line.split() for line in LIST.read_text().splitlines())
    assert {flag.name: flag.kind for flag in FLAGS.values()} == wanted


def test_no_flag_is_listed_twice() -> None:
    """The three lists share nothing."""
    assert len(PROVIDER) + len(SESSION) + len(SERVER) == len(FLAGS)


def test_names_in_files() -> None:
    """Lists have a plural in TOML and in the environment, as in oauth2-proxy's own source, but for two."""
    assert BY_KEY["email_domains"].name == "email-domain"
    assert BY_KEY["skip_auth_regex"].name == "skip-auth-regex"
    assert BY_KEY["google_group"] is BY_KEY["google_groups"]
    assert BY_VARIABLE["OAUTH2_PROXY_WHITELIST_DOMAINS"].name == "whitelist-domain"
    assert "OAUTH2_PROXY_EMAIL_DOMAIN" not in BY_VARIABLE
