"""
How each command of the documentation is exercised: one table.

A command is really run where a test can do so (`Run`, `Stays`), its target is shown to exist (`Make`), or it is exercised by
another test (`Elsewhere`), which must be there. What nothing here can run is `NotRun`, with the reason; the list of those is
short, and `test_commands` says which they are. A command that is not in the table fails, and so does an entry that
matches none. To add a page's commands, add entries; a page whose commands are run and need files has a function in
`desks`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Run as it stands, in the page's folder, with this exit code; what it says holds this expression."""

    says: str
    code: int = 0


@dataclass(frozen=True)
class Stays:
    """Started as it stands; it says this line, goes on while the page's next commands run, and ends well."""

    ready: str


@dataclass(frozen=True)
class Make:
    """A target of the Makefile, which would run something that holds this."""

    runs: str


@dataclass(frozen=True)
class Elsewhere:
    """Exercised by other tests."""

    tests: tuple[str, ...]

    def __init__(self, *tests: str) -> None:
        object.__setattr__(self, "tests", tests)


@dataclass(frozen=True)
class NotRun:
    """Not to be run here; other tests may hold what it says to the files that it is about."""

    reason: str
    tests: tuple[str, ...] = ()


Way = Run | Stays | Make | Elsewhere | NotRun

NO_INDEX = (
    "installs a release, and the tests fetch none; the package itself is built and installed by make release-check"
)
NO_PODS = "needs a pod that runs, and there is no container engine"
NO_ENGINE = "needs a container engine; its words are held to the files by the test"
NO_SYSTEMD = "needs a machine that systemd runs, and root; its words are held to the unit by the test"
IMAGE = "tests/deploy/test_image.py::test_commands_of_the_page"
COMPOSE = "tests/deploy/test_compose.py::test_commands_of_the_page"
SYSTEMD = "tests/deploy/test_systemd.py::test_commands_of_the_page"
NO_CLOUD = "needs an account of that cloud"
ON_A_CLUSTER = Elsewhere("tests/deploy/test_chart.py::test_commands_of_the_page")

WAYS: dict[str, Way] = {
    # make
    "make demo": Make("oidcgate demo"),
    "make test": Make("-m pytest"),
    "make bench": Make("-m bench"),
    'make bench BENCH_ARGS="--rounds 1 --seconds 3 --only nginx,gate"': Make("--only nginx,gate"),
    "make soak": Make("-m bench.soak"),
    # the gate
    "oidcgate check --config gate.yaml": Run(r"good; \d+ site"),
    "oidcgate serve --config gate.yaml": Stays("listening on "),
    "oidcgate explain --config gate.yaml --url https://dashboard.example.com/api/v1/secret/shop --user you@example.com "
    "--group platform-admins": Run("verdict  passed to https://kubernetes-dashboard-kong-proxy"),
    "oidcgate demo --port 8000 --issuer https://dex.example.com --client-id oidcgate --client-secret-file client-secret": (
        Stays("Open +http")
    ),
    "oidcgate secret > keys": Run("^$"),
    "printf 'Authorization: Bearer %s' \"$(cat admin-token)\" | curl -H @- localhost:8081/sessions": Run(r"\[\]"),
    "oidcgate sessions list --config gate.yaml": Run("nobody"),
    "oidcgate snippet nginx --config gate.yaml": Run("auth_request "),
    "oidcgate snippet nginx --config gate.yaml --gate http://10.0.0.7:8080 --upstream http://headlamp.internal:80": Run(
        "headlamp\\.internal:80"
    ),
    "oidcgate snippet ingress-nginx --config gate.yaml --site https://ui.example.com": Run("kind: Ingress"),
    "oidcgate doctor --config gate.yaml": Elsewhere(
        "tests/journeys/test_doctor.py::test_as_a_program", "tests/journeys/test_doctor.py::test_without_a_token"
    ),
    "oidcgate doctor --config gate.yaml --token-file token": Elsewhere(
        "tests/journeys/test_doctor.py::test_as_a_program"
    ),
    "oidcgate doctor --config gate.yaml --login": Elsewhere("tests/journeys/test_doctor.py::test_sign_in"),
    "oidcgate import oauth2-proxy oauth2-proxy.yaml oauth2-proxy.cfg --output gate.yaml": Run("3 places to FILL IN"),
    'grep -n "FILL IN" gate.yaml': Run("FILL IN"),
    # kubectl
    "oidcgate kubeconfig --config gate.yaml > one.yaml": Run("^$"),
    "kubectl --kubeconfig one.yaml auth whoami": Elsewhere("tests/journeys/test_kubectl.py::test_real_kubectl"),
    "oidcgate credential status --issuer https://dex.example.com --client-id kubectl": Run(
        "Nobody is signed in", code=1
    ),
    "oidcgate credential logout --issuer https://dex.example.com --client-id kubectl": Run("Nobody was signed in"),
    "kubectl create clusterrolebinding platform-admins --clusterrole=cluster-admin --group=oidc:platform-admins": Run(
        "created"
    ),
    "kubectl -n login get deployment oauth2-proxy -o yaml > oauth2-proxy.yaml": Run("^$"),
    # monitoring
    "promtool check rules deploy/monitoring/alerts.yaml": Run("SUCCESS: "),
    "curl -s localhost:8081/readyz": Run("provider: (ok|not reached yet)"),
    # Helm
    "kubectl create namespace oidcgate": ON_A_CLUSTER,
    "kubectl --namespace oidcgate create secret generic oidcgate-dex --from-file=client-secret": ON_A_CLUSTER,
    "helm install oidcgate deploy/helm/oidcgate --namespace oidcgate --values values.yaml": ON_A_CLUSTER,
    "oidcgate secret > session-keys": ON_A_CLUSTER,
    "kubectl --namespace oidcgate create secret generic oidcgate-keys --from-file=keys=session-keys": ON_A_CLUSTER,
    "helm upgrade oidcgate deploy/helm/oidcgate --namespace oidcgate --values values.yaml": ON_A_CLUSTER,
    "helm uninstall oidcgate --namespace oidcgate": ON_A_CLUSTER,
    # kubernetes.md
    **dict.fromkeys(
        (
            "umask 077",
            "oidcgate secret > deploy/kubernetes/standalone/keys",
            "openssl rand -hex 32 | tr -d '\\n' > deploy/kubernetes/standalone/client-secret",
            "kubectl apply -k deploy/kubernetes/standalone",
            "kubectl apply -f deploy/kubernetes/standalone/rbac-examples.yaml",
            "oidcgate secret > deploy/kubernetes/sidecar-headlamp/keys",
            "openssl rand -hex 32 | tr -d '\\n' > deploy/kubernetes/sidecar-headlamp/client-secret",
            "kubectl apply -k deploy/kubernetes/sidecar-headlamp",
            "openssl rand -base64 256 > deploy/kubernetes/sidecar-dashboard-7/csrf-key",
            "oidcgate secret > deploy/kubernetes/central/keys",
            "openssl rand -hex 32 | tr -d '\\n' > deploy/kubernetes/central/client-secret",
            "openssl rand -hex 32 | tr -d '\\n' > deploy/kubernetes/central/redis-password",
            "kubectl apply -k deploy/kubernetes/central",
            "kubectl apply -k deploy/kubernetes/central/other-cluster",
            "oidcgate snippet ingress-nginx --config deploy/kubernetes/central/config.yaml --site 'https://*.k8s.example.com' "
            "--gate https://auth.k8s.example.com --upstream http://headlamp.headlamp.svc:80",
        ),
        Elsewhere("tests/deploy/test_kubernetes.py::test_commands_of_the_page"),
    ),
    # docker.md: what the image is told to do, it does in a sandbox
    **dict.fromkeys(
        (
            "install -d -m 0700 secrets",
            "install -m 0600 client-secret secrets/client-secret",
            "docker run --rm ghcr.io/oidcgate/oidcgate:0.1.0 secret > secrets/keys",
            "chmod 0600 secrets/keys",
            "sudo chown -R 65532 secrets",
            "cp deploy/image/config.yaml config.yaml",
            "docker exec oidcgate oidcgate check --config /etc/oidcgate/config.yaml",
        ),
        Elsewhere(IMAGE),
    ),
    **dict.fromkeys(
        (
            "docker build --file deploy/Dockerfile --tag ghcr.io/oidcgate/oidcgate:0.1.0 .",
            "docker buildx build --platform linux/amd64,linux/arm64 --file deploy/Dockerfile "
            "--tag ghcr.io/oidcgate/oidcgate:0.1.0 .",
            "docker run --detach --name oidcgate --read-only --cap-drop ALL --security-opt no-new-privileges "
            '--stop-timeout 40 --publish 127.0.0.1:8080:8080 --volume "$PWD/config.yaml:/etc/oidcgate/config.yaml:ro" '
            '--volume "$PWD/secrets:/run/secrets/oidcgate:ro" --volume oidcgate-state:/var/lib/oidcgate '
            "ghcr.io/oidcgate/oidcgate:0.1.0",
            "docker kill --signal HUP oidcgate",
        ),
        NotRun(NO_ENGINE, (IMAGE,)),
    ),
    **dict.fromkeys(
        (
            "docker compose -f deploy/compose/docker-compose.yaml up",
            "docker compose -f deploy/compose/docker-compose.yaml exec -T gate cat /run/secrets/oidcgate/ca.crt > ca.crt",
            "docker compose -f deploy/compose/docker-compose.yaml exec cluster kubectl get pods --all-namespaces",
            "docker compose -f deploy/compose/docker-compose.yaml ps",
            "docker compose -f deploy/compose/docker-compose.yaml down --volumes",
        ),
        NotRun(NO_ENGINE, (COMPOSE,)),
    ),
    **dict.fromkeys(
        (
            "install -d /etc/oidcgate",
            "install -m 0644 deploy/systemd/config.yaml /etc/oidcgate/config.yaml",
            "install -m 0600 client-secret /etc/oidcgate/client-secret",
            "install -m 0600 /dev/null /etc/oidcgate/keys",
            "/opt/oidcgate/bin/oidcgate secret > /etc/oidcgate/keys",
            "install -m 0644 deploy/systemd/oidcgate.service /etc/systemd/system/oidcgate.service",
        ),
        Elsewhere(SYSTEMD),
    ),
    "systemctl daemon-reload": NotRun(NO_SYSTEMD, (SYSTEMD,)),
    "systemctl enable --now oidcgate.service": NotRun(NO_SYSTEMD, (SYSTEMD,)),
    # tests that people may run by hand
    "OIDCGATE_TEST_STREAM=1024 .venv/bin/python -m pytest tests/net/test_streams.py -s": Elsewhere(
        "tests/net/test_streams.py"
    ),
    # what nothing here can run
    "kubectl -n oidcgate exec deploy/oidcgate -- oidcgate doctor --config /etc/oidcgate/config.yaml": NotRun(NO_PODS),
    "pipx install oidcgate": NotRun(NO_INDEX),
    "python3 -m venv /opt/oidcgate": NotRun(NO_INDEX),
    "/opt/oidcgate/bin/pip install oidcgate": NotRun(NO_INDEX),
    "aws eks associate-identity-provider-config --cluster-name one --oidc "
    "identityProviderConfigName=dex,issuerUrl=https://dex.example.com,clientId=oidcgate,usernameClaim=email,"
    "usernamePrefix=oidc:,groupsClaim=groups,groupsPrefix=oidc:": NotRun(NO_CLOUD),
}
