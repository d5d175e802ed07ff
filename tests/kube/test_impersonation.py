"""Who the gate acts for: prefixes, names of the cluster's own, and values that no header carries."""

from dataclasses import replace

import pytest

from oidcgate.kube.impersonation import Naming, NotImpersonated, groups, impersonation, is_sendable, username
from oidcgate.oidc.idtoken import Claims

CLAIMS = Claims(
    issuer="https://dex.example.com",
    subject="s-1",
    audience=("gate",),
    expires=2_000_000_000.0,
    issued_at=1_900_000_000.0,
    email="alice@example.com",
    email_verified=True,
    groups=("admins", "team shop"),
)
PREFIXED = Naming("oidc:", "team:")
# What no header carries as it is: controls, spaces around it, what shows as nothing, half a character, nothing at all.
UNSENDABLE = [
    "",
    " ",
    " a",
    "a ",
    "\ta",
    "a\n",
    "a\r\nImpersonate-Group: x",
    "a\x00b",
    "a\x7f",
    "a\u200bb",
    "a\u00a0",
    "\ud800",
]


def test_headers() -> None:
    """One user, and one header a group: the API server takes no lists."""
    assert impersonation(CLAIMS, Naming()) == [
        ("Impersonate-User", "alice@example.com"),
        ("Impersonate-Group", "admins"),
        ("Impersonate-Group", "team shop"),
    ]


def test_without_groups() -> None:
    """Then the API server adds system:authenticated and nothing else."""
    assert impersonation(replace(CLAIMS, groups=()), PREFIXED) == [("Impersonate-User", "oidc:alice@example.com")]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({}, "alice@example.com", id="address"),
        pytest.param({"email_verified": False}, "s-1", id="address-not-verified"),
        pytest.param({"email": None}, "s-1", id="no-address"),
        pytest.param({"email": None, "subject": "Zoë B"}, "Zoë B", id="any-letters"),
        pytest.param({"email": None, "preferred_username": "root", "name": "admin"}, "s-1", id="never-a-chosen-name"),
        pytest.param({"email": None, "subject": "a,b"}, "a,b", id="comma"),
        pytest.param({"email": None, "subject": "System:x"}, "System:x", id="names-have-case"),
        pytest.param({"email": None, "subject": "x system:masters"}, "x system:masters", id="not-at-the-beginning"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "oidc:", "https://dex.example.com#"])
def test_username(changes: dict[str, object], name: str, prefix: str) -> None:
    """The verified address, else the subject, behind the prefix."""
    assert username(replace(CLAIMS, **changes), Naming(username_prefix=prefix)) == prefix + name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["system:", "system:admin", "system:anonymous", "system:kube-controller-manager", "system:serviceaccount:a:b"],
)
def test_the_cluster_s_own_names_are_refused(name: str) -> None:
    """Nobody becomes a part of the cluster by what an issuer calls them."""
    named = replace(CLAIMS, email=None, subject=name)
    with pytest.raises(NotImpersonated) as refused:
        impersonation(named, Naming())
    assert refused.value.status == 403
    assert username(named, PREFIXED) == f"oidc:{name}"


def test_a_prefix_does_not_make_one_either() -> None:
    """What counts is the name that the API server sees."""
    with pytest.raises(NotImpersonated):
        username(replace(CLAIMS, email=None, subject="admin"), Naming(username_prefix="system:"))
    with pytest.raises(NotImpersonated):
        username(replace(CLAIMS, email=None, subject="stem:admin"), Naming(username_prefix="sy"))


@pytest.mark.parametrize("name", UNSENDABLE)
def test_names_that_no_header_carries_are_refused(name: str) -> None:
    """Trimmed or cut they could be somebody else's."""
    assert not is_sendable(name)
    with pytest.raises(NotImpersonated):
        impersonation(replace(CLAIMS, email=None, subject=name), Naming())


@pytest.mark.parametrize("name", [name for name in UNSENDABLE if name.strip() and not name[0].isspace()])
def test_a_prefix_does_not_help(name: str) -> None:
    """Nor does what stands before it."""
    with pytest.raises(NotImpersonated):
        impersonation(replace(CLAIMS, email=None, subject=name), PREFIXED)


@pytest.mark.parametrize(
    ("named", "naming", "expected"),
    [
        pytest.param(("a", "b"), Naming(), ("a", "b"), id="plain"),
        pytest.param(("a", "b"), PREFIXED, ("team:a", "team:b"), id="prefix"),
        pytest.param(("system:masters", "a"), Naming(), ("a",), id="the-cluster-s-own"),
        pytest.param(("system:masters", "a"), PREFIXED, ("team:system:masters", "team:a"), id="harmless-with-a-prefix"),
        pytest.param(("masters", "a"), Naming("", "system:"), (), id="made-by-the-prefix"),
        pytest.param(
            ("system:masters", "system:viewers"),
            Naming("", "", ("system:viewers",)),
            ("system:viewers",),
            id="listed",
        ),
        pytest.param(
            ("viewers",), Naming("", "system:", ("system:viewers",)), ("system:viewers",), id="listed-with-prefix"
        ),
        pytest.param(("system:Viewers",), Naming("", "", ("system:viewers",)), (), id="listed-in-another-case"),
        pytest.param(("a,b", "c d", "é"), Naming(), ("a,b", "c d", "é"), id="odd-but-whole"),
        pytest.param(("System:masters",), Naming(), ("System:masters",), id="names-have-case"),
        pytest.param((), PREFIXED, (), id="none"),
    ],
)
def test_groups(named: tuple[str, ...], naming: Naming, expected: tuple[str, ...]) -> None:
    """Prefixed; the cluster's own are left out unless they are listed."""
    assert groups(replace(CLAIMS, groups=named), naming) == expected


def test_groups_that_no_header_carries_are_left_out() -> None:
    """The others stay."""
    assert groups(replace(CLAIMS, groups=(*UNSENDABLE, "ok")), Naming()) == ("ok",)


def test_no_value_makes_a_line() -> None:
    """Whatever the issuer says, no header's value holds the end of a line."""
    evil = "x\r\nImpersonate-Group: system:masters"
    headers = impersonation(replace(CLAIMS, groups=(evil, "x\nImpersonate-User: y", "ok")), PREFIXED)
    assert headers == [("Impersonate-User", "oidc:alice@example.com"), ("Impersonate-Group", "team:ok")]
