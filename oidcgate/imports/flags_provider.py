"""
Flags about the provider and who may pass.

Pure: data.
"""

from oidcgate.imports.flag import Flag
from oidcgate.imports.report import Part

DIFFERS, NONE, SAFER, TAKEN = Part.DIFFERS, Part.NONE, Part.SAFER, Part.TAKEN

DISCOVERY = "endpoints come from the issuer's metadata alone; name further hosts in provider.endpoint_hosts"
DEX = "the gate speaks plain OpenID Connect; let a Dex connector ask for it, and list groups in access.groups"
GOOGLE = "the gate does not call Google's directory; Dex's google connector does, and tells the groups"
LOGIN_GOV = "the gate proves itself by a client secret or by PKCE, not by signed assertions"
FIXED = "login parameters are fixed; set this in the provider's own rules for the client"
CLAIM = "the gate reads the standard claim; map it in the provider (Dex: claimMapping)"

PROVIDER = (
    Flag("provider", "string", None, "provider.issuer"),
    Flag("provider-display-name", "string", NONE, "there is no page with a sign-in button that would show it"),
    Flag("provider-ca-file", "strings", None, "provider.ca_file", key="provider_ca_files"),
    Flag("use-system-trust-store", "bool", DIFFERS, "provider.ca_file replaces the system's; put both into one bundle"),
    Flag("client-id", "string", None, "provider.client_id"),
    Flag("client-secret", "string", None, "provider.client_secret_file", secret=True),
    Flag("client-secret-file", "string", None, "provider.client_secret_file"),
    Flag("oidc-issuer-url", "string", None, "provider.issuer"),
    Flag("scope", "string", None, "provider.scopes"),
    Flag("oidc-extra-audience", "strings", None, "sites[].programs.audiences", key="oidc_extra_audiences"),
    Flag("oidc-enabled-signing-alg", "strings", None, "provider.algorithms", key="oidc_enabled_signing_algs"),
    Flag("oidc-audience-claim", "strings", NONE, "only aud is an audience", "aud", "oidc_audience_claims"),
    Flag("oidc-email-claim", "string", NONE, CLAIM, "email"),
    Flag("oidc-groups-claim", "string", NONE, CLAIM, "groups"),
    Flag("user-id-claim", "string", NONE, CLAIM, "email"),
    Flag("oidc-jwks-url", "string", NONE, DISCOVERY),
    Flag(
        "oidc-public-key-file",
        "strings",
        NONE,
        "keys come from the issuer's key set alone",
        "",
        "oidc_public_key_files",
    ),
    Flag("skip-oidc-discovery", "bool", NONE, DISCOVERY),
    Flag("login-url", "string", NONE, DISCOVERY),
    Flag("redeem-url", "string", NONE, DISCOVERY),
    Flag("profile-url", "string", NONE, "the ID token says who somebody is; nothing else is asked"),
    Flag("validate-url", "string", NONE, "the ID token is verified by the issuer's keys; nothing else is asked"),
    Flag("skip-claims-from-profile-url", "bool", TAKEN, "always so: the ID token alone says who somebody is"),
    Flag("auth-request-response-mode", "string", NONE, "the answer comes by query, as the issuer's default is"),
    Flag("insecure-oidc-allow-unverified-email", "bool", SAFER, "an address counts only when the provider verified it"),
    Flag("insecure-oidc-skip-issuer-verification", "bool", SAFER, "a token must name the issuer letter by letter"),
    Flag("insecure-oidc-skip-nonce", "bool", SAFER, "the nonce is always verified", "false"),
    Flag("ssl-insecure-skip-verify", "bool", SAFER, "refused for the issuer; give its CA in provider.ca_file"),
    Flag("code-challenge-method", "string", None, "PKCE"),
    Flag("force-code-challenge-method", "string", None, "PKCE"),
    Flag("backend-logout-url", "string", NONE, "signing out goes through the issuer's own end of session"),
    Flag("prompt", "string", NONE, FIXED),
    Flag("approval-prompt", "string", NONE, FIXED, "force"),
    Flag("acr-values", "string", NONE, FIXED),
    Flag("resource", "string", NONE, "of Azure's first protocol version; use the v2.0 issuer"),
    # who may pass
    Flag("allowed-group", "strings", None, "sites[].access.groups", key="allowed_groups"),
    Flag("allowed-role", "strings", NONE, f"{CLAIM}: roles as groups", "", "allowed_roles", restricts=True),
    Flag("email-domain", "strings", None, "sites[].access.email_domains", key="email_domains"),
    Flag("authenticated-emails-file", "string", None, "sites[].access.emails"),
    Flag("htpasswd-file", "string", NONE, "people sign in at the provider; Dex has static passwords and LDAP"),
    Flag("htpasswd-user-group", "strings", NONE, "goes with htpasswd-file", key="htpasswd_user_groups"),
    Flag("display-htpasswd-form", "bool", NONE, "goes with htpasswd-file", "true"),
    # other people's protocols
    Flag("keycloak-group", "strings", None, "sites[].access.groups", key="keycloak_groups"),
    Flag("gitlab-group", "strings", None, "sites[].access.groups", key="gitlab_groups"),
    Flag("gitlab-project", "strings", NONE, DEX, key="gitlab_projects", restricts=True),
    Flag("github-org", "string", None, "sites[].access.groups"),
    Flag("github-team", "string", None, "sites[].access.groups"),
    Flag("github-repo", "string", NONE, DEX, restricts=True),
    Flag("github-user", "strings", NONE, DEX, key="github_users", restricts=True),
    Flag("github-token", "string", NONE, DEX, secret=True),
    Flag("bitbucket-team", "string", NONE, DEX, restricts=True),
    Flag("bitbucket-repository", "string", NONE, DEX, restricts=True),
    Flag("google-group", "strings", None, "sites[].access.groups", key="google_groups"),
    Flag("google-admin-email", "string", NONE, GOOGLE),
    Flag("google-service-account-json", "string", NONE, GOOGLE),
    Flag("google-use-application-default-credentials", "string", NONE, GOOGLE, "false"),
    Flag("google-target-principal", "string", NONE, GOOGLE),
    Flag("google-use-organization-id", "string", NONE, GOOGLE, "false"),
    Flag("google-admin-api-user-scope", "string", NONE, GOOGLE),
    Flag("azure-tenant", "string", None, "provider.issuer", "common"),
    Flag("azure-graph-group-field", "string", NONE, "groups come from the ID token, as the application says in Entra"),
    Flag(
        "entra-id-allowed-tenant",
        "strings",
        NONE,
        "one issuer is one tenant; name the tenant's own issuer",
        key="entra_id_allowed_tenants",
        restricts=True,
    ),
    Flag("entra-id-federated-token-auth", "bool", NONE, LOGIN_GOV),
    Flag("jwt-key", "string", NONE, LOGIN_GOV, secret=True),
    Flag("jwt-key-file", "string", NONE, LOGIN_GOV),
    Flag("pubjwk-url", "string", NONE, LOGIN_GOV),
)
