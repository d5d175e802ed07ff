"""
Dex's configuration by its keys, as the source of Dex 2.45.1 has them (cmd/dex/config.go, storage/storage.go, connector/*).

JSON Schemas of what our pages and manifests use; a key that Dex does not know it passes over in silence, so that a
misspelled one would go unnoticed there.
"""

from typing import Any

import jsonschema

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
FLAG: Schema = {"type": "boolean"}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ns|us|ms|s|m|h))+$"}


def section(*required: str, **keys: Schema) -> Schema:
    """An object with these keys and no others."""
    return {"type": "object", "properties": keys, "additionalProperties": False, "required": list(required)}


def many(of: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": of}


SEARCH = {"baseDN": TEXT, "filter": TEXT, "scope": TEXT, "nameAttr": TEXT}
FEDERATED = {"clientID": TEXT, "clientSecret": TEXT, "redirectURI": TEXT}
CONNECTORS: dict[str, Schema] = {
    "ldap": section(
        "host",
        "userSearch",
        host=TEXT,
        insecureNoSSL=FLAG,
        insecureSkipVerify=FLAG,
        startTLS=FLAG,
        rootCA=TEXT,
        rootCAData=TEXT,
        clientCert=TEXT,
        clientKey=TEXT,
        bindDN=TEXT,
        bindPW=TEXT,
        usernamePrompt=TEXT,
        userSearch=section(
            "baseDN",
            "username",
            **SEARCH,
            username=TEXT,
            idAttr=TEXT,
            emailAttr=TEXT,
            preferredUsernameAttr=TEXT,
            emailSuffix=TEXT,
        ),
        groupSearch=section(
            "baseDN",
            **SEARCH,
            userMatchers=many(section(userAttr=TEXT, groupAttr=TEXT, recursionGroupAttr=TEXT)),
        ),
    ),
    "google": section(
        *FEDERATED,
        **FEDERATED,
        scopes=TEXTS,
        hostedDomains=TEXTS,
        groups=TEXTS,
        serviceAccountFilePath=TEXT,
        domainToAdminEmail={"type": "object", "additionalProperties": TEXT},
        fetchTransitiveGroupMembership=FLAG,
        promptType=TEXT,
    ),
    "github": section(
        *FEDERATED,
        **FEDERATED,
        orgs=many(section("name", name=TEXT, teams=TEXTS)),
        hostName=TEXT,
        rootCA=TEXT,
        teamNameField={"enum": ["name", "slug", "both"]},
        loadAllGroups=FLAG,
        useLoginAsID=FLAG,
        preferredEmailDomain=TEXT,
    ),
    "oidc": section(
        "issuer",
        *FEDERATED,
        **FEDERATED,
        issuer=TEXT,
        issuerAlias=TEXT,
        basicAuthUnsupported=FLAG,
        scopes=TEXTS,
        rootCAs=TEXTS,
        insecureSkipEmailVerified=FLAG,
        insecureEnableGroups=FLAG,
        allowedGroups=TEXTS,
        acrValues=TEXTS,
        insecureSkipVerify=FLAG,
        getUserInfo=FLAG,
        userIDKey=TEXT,
        userNameKey=TEXT,
        promptType=TEXT,
        pkceChallenge=TEXT,
        overrideClaimMapping=FLAG,
        claimMapping=section(preferred_username=TEXT, email=TEXT, groups=TEXT),
    ),
    "mockCallback": section(),
    "mockPassword": section("username", "password", username=TEXT, password=TEXT),
}
CLIENT = section(
    id=TEXT,
    idEnv=TEXT,
    secret=TEXT,
    secretEnv=TEXT,
    redirectURIs=TEXTS,
    trustedPeers=TEXTS,
    public=FLAG,
    name=TEXT,
    logoURL=TEXT,
)
PASSWORD = section(
    "email",
    "userID",
    email=TEXT,
    hash={"type": "string", "pattern": r"^\$2[aby]\$1[0-6]\$[./A-Za-z0-9]{53}$"},
    hashFromEnv=TEXT,
    username=TEXT,
    name=TEXT,
    preferredUsername=TEXT,
    emailVerified=FLAG,
    userID=TEXT,
    groups=TEXTS,
)
# What the start of Dex asks of each client (cmd/dex/serve.go).
WHOLE_CLIENT: Schema = {
    **CLIENT,
    "required": ["name"],
    "oneOf": [{"required": ["id"]}, {"required": ["idEnv"]}],
    "anyOf": [
        {"required": ["public"], "properties": {"public": {"const": True}}},
        {"required": ["secret"], "properties": {"secretEnv": False}},
        {"required": ["secretEnv"], "properties": {"secret": False}},
    ],
}
CONNECTOR = section(
    "type", "id", "name", type={"enum": sorted(CONNECTORS)}, id=TEXT, name=TEXT, config={"type": "object"}
)
TOP = section(
    issuer={"type": "string", "pattern": "^https?://"},
    storage=section(
        "type",
        type={"enum": ["memory", "sqlite3", "kubernetes", "postgres", "mysql", "etcd"]},
        config={"type": "object"},
    ),
    web=section(
        http=TEXT,
        https=TEXT,
        headers={"type": "object"},
        tlsCert=TEXT,
        tlsKey=TEXT,
        tlsMinVersion=TEXT,
        tlsMaxVersion=TEXT,
        allowedOrigins=TEXTS,
        allowedHeaders=TEXTS,
        clientRemoteIP=section(header=TEXT, trustedProxies=TEXTS),
    ),
    telemetry=section(http=TEXT, enableProfiling=FLAG),
    oauth2=section(
        grantTypes=TEXTS,
        responseTypes=TEXTS,
        skipApprovalScreen=FLAG,
        alwaysShowLoginScreen=FLAG,
        passwordConnector=TEXT,
    ),
    grpc={"type": "object"},
    expiry=section(
        signingKeys=DURATION,
        idTokens=DURATION,
        authRequests=DURATION,
        deviceRequests=DURATION,
        refreshTokens=section(
            disableRotation=FLAG, reuseInterval=DURATION, absoluteLifetime=DURATION, validIfNotUsedFor=DURATION
        ),
    ),
    logger=section(level=TEXT, format={"enum": ["text", "json"]}),
    frontend={"type": "object"},
    signer={"type": "object"},
    connectors=many(CONNECTOR),
    staticClients=many(WHOLE_CLIENT),
    enablePasswordDB=FLAG,
    staticPasswords=many(PASSWORD),
)
TOP_KEYS = set(TOP["properties"])
CLIENT_KEYS = set(CLIENT["properties"])


def problems(document: Any, schema: Schema = TOP) -> list[str]:
    """What Dex would not understand in its configuration, or in a part of it."""
    found = [f"{error.json_path}: {error.message}" for error in _validator(schema).iter_errors(document)]
    connectors = document.get("connectors", []) if isinstance(document, dict) else []
    for connector in connectors:
        config = _validator(CONNECTORS.get(connector.get("type"), {}))
        found += [
            f"{connector.get('id')}{error.json_path[1:]}: {error.message}"
            for error in config.iter_errors(connector.get("config", {}))
        ]
    return found


def _validator(schema: Schema) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)
