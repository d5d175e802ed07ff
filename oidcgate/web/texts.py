"""
What the gate's pages say, in one place.

Pure: data only. A page tells what happened and what to do next, in that order; it never blames.
"""

CONTINUE = "Continue"
SIGN_IN_AGAIN = "Sign in again"
SIGN_OUT = "Sign out"
TRY_AGAIN = "Try again"
STOP_TRYING = "Stop trying"
GO_ON_TRYING = "Go on trying"
STAY = "Stay signed in"
OPEN = "Open the site"
OPEN_SITE = "Open {}"
SOMEBODY_ELSE = "Sign in as somebody else"

REQUEST = "Request {}"  # at the foot: the number by which the log has it
SIGNED_IN_AS = "Signed in as"
GROUPS = "Groups"
WITH_REASON = "{} Reason: {}."

SESSION_PAGE = ("Your session", "")
MY_BROWSERS = "Your browsers"
ALL_BROWSERS = "Everybody's browsers"
THIS_BROWSER = "This browser"
SOME_BROWSER = "Another browser"
BROWSER_ON = "{} on {}"
ENDS_IN = "This session ends in"
SINCE = "signed in {} ago · seen {} ago"
OPEN_FOR = "{}, open for {}"
UNITS = (("day", "days"), ("hour", "hours"), ("minute", "minutes"))
NO_TIME = "less than a minute"
END = "End"
END_OTHERS = "End all others"
EVERYBODY = "Show everybody"
MINE = "Show only mine"
FORM_OLD = "This form has run out"
NOTHING_CHANGED = "Nothing was changed."

LANDING = ("Your clusters", "")
OPEN_CLUSTER = "Open"
ALL_CLUSTERS = "All clusters"
NEVER_USED = "not used yet"
LAST_USED = "last used {} ago"
ANSWERS = "answers"
SILENT = "does not answer"
NO_CLUSTER = "None of the clusters behind this gate is open to your account."
NOT_OURS = (
    "This address is not one of ours",
    "The sign-in would have led on to a site that this gate does not serve, so it was not begun.",
)
TOO_MANY = ("Too many sign-ins", "Too many sign-ins were begun from your address; wait a minute.")
NO_DIALECT = "There is no such dialect; see `oidcgate snippet --help`."
OWN_PATH = "The gate's own paths are to be routed to the gate, not asked about."
SIGN_IN_FIRST = "Sign in first: open this site in a browser."
ELSEWHERE = (
    "Another proxy carries this site",
    "This gate only signs people in for it; the request should not have come here. Open the site at its own address.",
)
START = ("Taking you to sign in", "One moment.")
SIGNED_OUT = ("You are signed out", "This browser holds no session here any more.")
SIGN_OUT_PAGE = ("Sign out?", "Open terminals and log streams of this session will close.")
MY_SIGN_IN = "Your sign-in"
HOME = ("You are signed in", "")
NOT_FOUND = ("There is no such page", "This address belongs to the sign-in gate, and it has no page of this name.")
NO_METHOD = ("This address is not to be opened", "It belongs to the sign-in gate, and is used by programs only.")
DENIED = ("You may not open this", "You are signed in, but this site is not open to your account.")
DENIED_RULE = ("You may not open this", "You are signed in, but this part of the site is not open to your account.")
FOREIGN = (
    "This request came from another site",
    "For your safety it was not carried out. Open this site yourself and try again there.",
)
LATE = (
    "This sign-in has run out",
    "It began too long ago, was already completed, or began in another browser. Nothing is lost: sign in again.",
)
NO_COOKIE = (
    "This sign-in did not begin here",
    "Your browser sent no trace of having begun it. If this happens each time, cookies are blocked for this site.",
)
LOOP = (
    "Signing in goes round in circles",
    "You signed in several times within a minute, yet each time your browser came back without its session. Most "
    "often cookies are blocked or deleted for this site, or the clock of this computer or of the server is wrong.",
)
PROVIDER_SAYS_NO = ("The sign-in was not completed", "")
TOKEN_REFUSED = (
    "The identity provider's answer was refused",
    "It did not pass a safety check, so nobody was signed in. Trying again may help; if it does not, the "
    "administrator finds the failed check in the log under this page's request id.",
)
PROVIDER_DOWN = (
    "The identity provider does not answer",
    "Nothing is lost: this page tries again by itself every few seconds.",
)
STORE_DOWN = (
    "The session store does not answer",
    "Nothing is lost: this page tries again by itself every few seconds.",
)
UPSTREAM_DOWN = (
    "The application does not answer",
    "You are signed in, but the application behind this address cannot be reached. It may just be restarting.",
)
UPSTREAM_SLOW = (
    "The application is too slow",
    "You are signed in, but the application behind this address did not answer in time.",
)
UPSTREAM_BROKEN = (
    "The application's answer was unusable",
    "You are signed in, but the application answered in a way that cannot be passed on.",
)
NOT_IN_THIS_NAME = "The gate cannot act for you in this cluster"
BAD_REQUEST = ("This request cannot be handled", "")

# RFC 6749 §4.1.2.1 and OIDC Core §3.1.2.6, and what they mean to a person, live with the relying party; this is the
# sentence for the operator-shaped one that Dex gives when an audience is not allowed.
INVALID_SCOPE_HINT = (
    " The administrator should check the requested scopes, and trustedPeers for each audience, in the provider."
)

# Who somebody is in the cluster, and what they may do there.
WHY = "Why, and what to ask for"
WHAT_I_MAY = "What I may do"
DENIED_PERMISSION = (
    "You may not open this",
    "You are signed in, but this site is open only to those who have a certain permission in its cluster, and your "
    "account does not have it.",
)
CLUSTER_DOWN = (
    "The cluster does not answer",
    "Its API server decides who may open this site. Nothing is lost: this page tries again by itself every few "
    "seconds.",
)
MISFIT = (
    "The cluster does not accept your sign-in",
    "You are signed in here, but the cluster's API server does not take your token, so that the application would stay "
    "empty. An administrator can put that right:",
)
MISFIT_UNSURE = "The API server does not say why. It is one of these; the likeliest comes first:"
SETTING_IN = "To set, in {}:"
SETTING_FLAG = "or, by flags of kube-apiserver:"
ACCESS = ("What you may do here", "")
NO_CLUSTER_KNOWN = (
    "This is what your token says. The gate cannot ask the cluster about you: this site's configuration has no "
    "kubernetes.api, the address of its API server."
)
SUBJECT = "Subject"
EMAIL = "Email"
ISSUER = "Issuer"
AUDIENCE = "Audience"
USER = "User"
UID = "UID"
NAMESPACE = "Namespace"
ROLE = "Role to ask for"
FOR_WHOM = "For whom"
OF_GROUPS = "of {}"
NAMED = "named {}"
NOTHING_SENT = "This is what is known of you here. No token is sent from this address, so there is no cluster to ask."
SEEN_BY_CLUSTER = "This is you as the cluster's API server sees you. Its administrators grant rights to these names."
NOT_SEEN_BY_CLUSTER = "The cluster's API server does not tell who you are. This is what your token says."
RIGHTS_IN = "What you may do in namespace {}"
NO_RIGHTS = "Nothing but to ask what you may do."
RIGHTS_INCOMPLETE = "This may not be all: {}"
NOT_ALL_LISTED = "the cluster cannot list all"
RIGHTS_UNKNOWN = "The cluster's API server does not tell what you may do right now."
NEEDED_HERE = "What this site asks for"
NEEDED_AND_THERE = "You have the permission that this site asks for: {}."
NEEDED_AND_MISSING = "You lack the permission that this site asks for: {}. An administrator gives it with this:"
NEEDED_AND_UNKNOWN = "This site asks for a permission, and the cluster does not tell whether you have it: {}."
TO_ASK_FOR = "What to ask an administrator for"
TO_ASK_IN_NAMESPACE = "In namespace {} only:"
TO_ASK_EVERYWHERE = "In all namespaces:"
SHOW = "Show"

# kubectl with the same account.
KUBECTL = ("kubectl with your account", "kubectl signs you in as this page did, in your browser.")
KUBECTL_INSTALL = "Install the helper, once"
KUBECTL_SAVE = "Save this as {}"
KUBECTL_TRY = "See who the cluster takes you for"
KUBECTL_FREELY = "There is no secret in it: you may pass it on. Signing in happens when kubectl needs it."
KUBECTL_ELSEWHERE = (
    "On a machine without a browser the helper shows a code, to be typed in on another device. To sign out there: "
    "the same command with “logout” in place of “get”."
)
KUBECTL_MISSING = "kubectl is not set up for this site yet. An administrator sets, in the gate's configuration:"
KUBECTL_UNREADABLE = "The set-up cannot be shown: a file that the gate's configuration names cannot be read."
