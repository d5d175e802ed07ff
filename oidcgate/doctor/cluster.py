"""
The API server: it can be reached, and takes the person's token for who they are.

Edge by its calls. What an API server means by 401 is known to ``kube.diagnosis``.
"""

from pathlib import Path
from typing import Final

from oidcgate.config.model import Kubernetes
from oidcgate.config.secret import SecretFile, UnusableSecret
from oidcgate.doctor.calls import LIMIT
from oidcgate.doctor.reaching import Settings, certified, unreached
from oidcgate.doctor.report import Said, fail, ok, skip, warn
from oidcgate.doctor.scene import Scene, Visit, cluster_way, shown_by
from oidcgate.doctor.stages import Unreached
from oidcgate.kube import diagnosis, reviews
from oidcgate.kube.client import Answer, ApiServer, ClusterUnreachable
from oidcgate.kube.refusal import of_refusal
from oidcgate.oidc.claims import Claims

NOBODY: Final = "oidcgate-doctor"  # who is impersonated: somebody without rights


def section(visit: Visit) -> Kubernetes:
    """The API server's part of a site that has one."""
    assert visit.config.kubernetes is not None
    return visit.config.kubernetes


def settings_of(visit: Visit) -> Settings:
    """The keys that the way to it goes by."""
    keys = [visit.key(f"kubernetes.{name}") for name in ("api", "ca_file", "server_name")]
    return Settings("the API server", *keys)


async def check_reached(scene: Scene, visit: Visit) -> list[Said]:
    """Name, connection and certificate, and that it is an API server."""
    kubernetes, settings = section(visit), settings_of(visit)
    try:
        certificate = await scene.caller.reach(kubernetes.api, cluster_way(kubernetes))
    except Unreached as error:
        shown = await shown_by(scene, kubernetes.api, kubernetes.server_name) if error.stage == "tls" else None
        return [unreached(error, settings, names=shown.names if shown is not None else ())]
    said = [] if certificate is None else [certified(certificate, scene.caller.clock(), settings)]
    server = ApiServer(kubernetes, timeout=LIMIT)
    try:
        answer = await server.get("/version", headers={})
    except ClusterUnreachable as error:
        return [fail(str(error), settings.address, "name the address of an API server, as kubectl cluster-info does")]
    finally:
        await server.close()
    return [*said, judge_version(answer, kubernetes.api, settings)]


def judge_version(answer: Answer, api: str, settings: Settings) -> Said:
    """The finding about what it says of itself; to strangers it may say nothing."""
    version = answer.body.get("gitVersion")
    if isinstance(version, str):
        return ok(f"{api} is Kubernetes {version[:40]}")
    if answer.body.get("kind") == "Status":
        return ok(f"{api} answers, and tells strangers nothing ({answer.status})")
    return fail(
        f"{api} answers {answer.status}, and not as an API server",
        settings.address,
        "name the address of an API server, as kubectl cluster-info does",
    )


async def check_credential(_: Scene, visit: Visit) -> list[Said]:
    """The gate's own credential is taken, and may act for people."""
    kubernetes = section(visit)
    key = visit.key("kubernetes.credential_file")
    assert kubernetes.credential_file is not None
    try:
        credential = SecretFile(Path(kubernetes.credential_file)).read()
    except UnusableSecret as error:
        return [fail(str(error), key, "name a file with the token of a service account")]
    headers = {"Authorization": f"Bearer {credential}", "Impersonate-User": NOBODY}
    server = ApiServer(kubernetes, timeout=LIMIT)
    try:
        answer = await server.post(reviews.SELF_PATH, reviews.self_review(), headers=headers)
    except ClusterUnreachable as error:
        return [fail(str(error), visit.key("kubernetes.api"), "see the API server's log")]
    finally:
        await server.close()
    return [judge_credential(answer, visit)]


def judge_credential(answer: Answer, visit: Visit) -> Said:
    """The finding about somebody whom the gate would act for."""
    if answer.status == 401:
        key = visit.key("kubernetes.credential_file")
        return fail("the API server does not take the gate's own credential", key, "name a token that it takes")
    if answer.status == 403 and "impersonate" in answer.message:
        found = diagnosis.of_credential(answer.status, answer.message)
        return fail(found.sentence, "cluster: its RBAC", f"{' '.join(found.setting.split())}, and bind it to the gate")
    return ok("the gate's own credential is taken, and may act for people")


async def check_identity(scene: Scene, visit: Visit) -> list[Said]:
    """Who the person is to the cluster."""
    raw, why_not = scene.token_for(visit)
    if why_not or scene.bearer is None:
        return [skip(why_not)]
    claims = scene.bearer.claims
    server = ApiServer(section(visit), timeout=LIMIT)
    try:
        answer = await server.post(reviews.SELF_PATH, reviews.self_review(), headers={"Authorization": f"Bearer {raw}"})
        if answer.status == 401:
            said = await _token_review(server, section(visit), raw)
            return [judge_refusal(claims, said)]
        return judge_review(answer, claims, visit)
    except ClusterUnreachable as error:
        return [fail(str(error), visit.key("kubernetes.api"), "see the API server's log")]
    finally:
        await server.close()


async def _token_review(server: ApiServer, kubernetes: Kubernetes, raw: str) -> str | None:
    """What the API server says of the token to the gate's own credential, if there is one that may ask."""
    if kubernetes.credential_file is None:
        return None
    try:
        credential = SecretFile(Path(kubernetes.credential_file)).read()
        headers = {"Authorization": f"Bearer {credential}"}
        answer = await server.post(reviews.TOKEN_PATH, reviews.token_review(raw), headers=headers)
        return reviews.read_token_verdict(answer.body).error if answer.status == 201 else None
    except (UnusableSecret, ClusterUnreachable, reviews.UnusableReview):
        return None


def judge_refusal(claims: Claims, said: str | None) -> Said:
    """The finding about 401; clocks have been looked at before, so they are none of the candidates."""
    if claims.issuer.startswith("http://"):
        todo = "use an https issuer: an API server takes no other"
        return fail("the API server takes no token of an http issuer", "kube-apiserver: --oidc-issuer-url", todo)
    found = of_refusal(claims, skew=None, said=said)
    flags = [flag for each in found for flag in each.flags.split()]
    key = f"kube-apiserver: {', '.join(dict.fromkeys(flag.partition('=')[0] for flag in flags)) or 'its clock'}"
    begin = "the API server refuses the token (401)"
    if len(found) == 1 and found[0].certain:
        return fail(f"{begin}: {found[0].sentence}", key, " ".join(flags) or found[0].setting)
    return fail(begin, key, f"one of these, in this order: {' Or: '.join(each.sentence for each in found)}")


def judge_review(answer: Answer, claims: Claims, visit: Visit) -> list[Said]:
    """The findings about a SelfSubjectReview."""
    key = visit.key("kubernetes.api")
    if answer.status == 403:
        if reviews.ANONYMOUS in answer.message:
            return [_translated(diagnosis.of_anonymous(section(visit).api), key)]
        return [
            warn(
                answer.message[:200], "kube-apiserver: its RBAC", "bind the ClusterRole system:basic-user to everybody"
            )
        ]
    if answer.status == 404:
        return [
            warn("it has no SelfSubjectReview: Kubernetes before 1.28", key, "nothing: only the doctor asks for it")
        ]
    try:
        person = reviews.read_person(answer.body)
    except reviews.UnusableReview as error:
        return [fail(f"{error} ({answer.status})", key, "name the address of an API server")]
    if person.is_anonymous:
        return [_translated(diagnosis.of_anonymous(section(visit).api), key)]
    return [
        ok(f"the cluster sees {person.username} in {', '.join(person.groups) or 'no group'}"),
        *_names(person, claims, visit),
    ]


def _names(person: reviews.Person, claims: Claims, visit: Visit) -> list[Said]:
    kubernetes = section(visit)
    said: list[Said] = []
    for each in diagnosis.of_names(
        claims, person, username_prefix=kubernetes.username_prefix, groups_prefix=kubernetes.groups_prefix
    ):
        name = "username_prefix" if "username" in each.flags else "groups_prefix"
        said.append(warn(each.sentence, visit.key(f"kubernetes.{name}"), " ".join(each.setting.split())))
    if claims.groups and diagnosis.groups_prefix_of(claims, person) is None:
        flag = "kube-apiserver: --oidc-groups-claim"
        said.append(warn("the cluster does not take the token's groups", flag, "set it to groups"))
    return said


def _translated(found: diagnosis.Finding, key: str) -> Said:
    return fail(found.sentence, key, " ".join(found.setting.split()) or found.flags)
