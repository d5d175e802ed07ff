"""The whole import: nothing given is forgotten, nothing secret is copied, and every result is a configuration."""

import pytest

from oidcgate.imports.flag import Flag
from oidcgate.imports.flags import ENVIRONMENT, FLAGS
from oidcgate.imports.oauth2_proxy import convert
from oidcgate.imports.reading import Source
from oidcgate.imports.report import Part
from tests.imports.support import GOOD, accepted, imported, told

SAMPLES = {
    "provider": "oidc",
    "oidc-issuer-url": "https://dex.example.com",
    "redirect-url": "https://ui.example.com/oauth2/callback",
    "upstream": "http://ui.svc",
    "cookie-domain": ".example.com",
    "azure-tenant": "t",
}
HUSH = "hush-hush"


def sample(flag: Flag) -> str:
    """A value that is not the default."""
    if flag.kind == "bool":
        return "false" if flag.silent_value == "true" else "true"
    return SAMPLES.get(flag.name, {"int": "41", "duration": "41m"}.get(flag.kind, f"value-{flag.name}"))


@pytest.mark.parametrize("flag", FLAGS.values(), ids=lambda flag: flag.name)
def test_every_flag_is_named(flag: Flag) -> None:
    """Whatever is given stands in the report, under the name that it was given by, and the result is accepted."""
    result = imported(f"--{flag.name}={sample(flag)}")
    accepted(result)
    assert any(told(result, part, f"--{flag.name}") for part in Part)


@pytest.mark.parametrize("flag", FLAGS.values(), ids=lambda flag: flag.name)
def test_every_flag_whose_value_is_not_known(flag: Flag) -> None:
    """A value that comes from elsewhere is named too, and the result is accepted."""
    result = imported(f"--{flag.name}=$(SOMETHING)")
    accepted(result)
    assert any(told(result, part, f"--{flag.name}") for part in Part)


@pytest.mark.parametrize("flag", [flag for flag in FLAGS.values() if flag.secret], ids=lambda flag: flag.name)
@pytest.mark.parametrize("way", ["flag", "toml", "environment", "variable"])
def test_no_secret_is_copied(flag: Flag, way: str) -> None:
    """A secret is in no line of the configuration or the report, however it came."""
    value = f"redis://user:{HUSH}@redis" if flag.name.endswith(("-url", "-urls")) else HUSH
    source = {
        "flag": Source("a.txt", f"--{flag.name}={value}"),
        "toml": Source("a.toml", f'{flag.toml_key} = "{value}"'),
        "environment": Source("a.env", f"{ENVIRONMENT}{flag.toml_key.upper()}={value}"),
        "variable": Source("a.txt", f"--{flag.name}=$(SECRET)"),
    }[way]
    for more in (
        "",
        "--session-store-type=redis",
        "--session-store-type=redis --redis-use-sentinel --redis-sentinel-master-name=m",
    ):
        result = convert([Source("b.txt", GOOD + more), source], {"SECRET": value}, {}.get)
        accepted(result)
        assert HUSH not in result.text + result.report.render() + repr(result)


def test_no_secret_of_the_alpha_file_is_copied() -> None:
    """Secrets in the alpha file are not copied either."""
    alpha = (
        "providers: [{provider: github, clientID: x, clientSecret: hush-hush, githubConfig: {token: hush-hush},"
        " loginGovConfig: {jwtKey: hush-hush}}]\n"
        "injectRequestHeaders: [{name: A, values: [{value: hush-hush}]}]\n"
        "server: {tls: {key: {value: hush-hush}}}\n"
    )
    result = imported("--email-domain=*", base=" ", a_yaml=alpha)
    accepted(result)
    assert HUSH not in result.text + result.report.render()


def test_nothing_given() -> None:
    """Even an almost empty configuration becomes one that the gate takes, with all that is to fill in."""
    result = imported("--reverse-proxy", base=" ")
    accepted(result)
    assert result.to_fill_in == 5
    assert all(result.report.lines(part) for part in (Part.DIFFERS, Part.SAFER))


def test_defaults_have_no_line() -> None:
    """Settings that say what is so anyway are no news."""
    result = imported("--pass-host-header --ping-path=/ping --force-https=false --logging-max-backups=0")
    assert result.report.lines(Part.NONE) == []
    assert not told(result, Part.DIFFERS, "--pass-host-header")
