"""
The demo issuer's HTML pages: sign-in, refusal, sign-out.

Pure.
Every text is escaped here. No script, no external resource; light or dark as the browser prefers.
"""

from collections.abc import Iterable
from html import escape
from http import HTTPStatus

from oidcgate.demo.issuer_model import Person

TITLE = "Demo identity provider"
NOTICE = "This is a demonstration. The accounts are made up, the passwords are public: type no real one."

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --back: #eef1f5; --card: #fff;
  --line: #d5dbe3; --blue: #1f5fd0; --on-blue: #fff; --red: #a4161a; --red-back: #fdecec; --sand: #fff6df; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --soft: #a3afbf; --back: #12161d;
  --card: #1c222c; --line: #38424f; --blue: #8ab4ff; --on-blue: #0d1b33; --red: #ffb4b0;
  --red-back: #47201f; --sand: #3a3117; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem 1rem;
  background: var(--back); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 26rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 1.75rem; box-shadow: 0 8px 30px rgb(0 0 0 / 8%); }
header { display: flex; gap: .75rem; align-items: center; margin-bottom: 1rem; }
header svg { flex: none; color: var(--blue); }
h1 { font-size: 1.2rem; line-height: 1.3; margin: 0; }
h2 { font-size: .95rem; margin: 1.5rem 0 .5rem; color: var(--soft); font-weight: 600; }
p { margin: 0 0 1rem; }
.notice { background: var(--sand); border-radius: 8px; padding: .6rem .8rem; font-size: .875rem; }
.error { background: var(--red-back); color: var(--red); border-radius: 8px; padding: .6rem .8rem; }
label { display: block; font-weight: 600; margin-bottom: .25rem; }
input { width: 100%; font: inherit; padding: .6rem .75rem; margin-bottom: 1rem; color: inherit;
  background: transparent; border: 1px solid var(--soft); border-radius: 8px; }
button { width: 100%; font: inherit; font-weight: 600; min-height: 2.75rem; padding: .5rem .75rem;
  border: 1px solid var(--blue); border-radius: 8px; background: var(--blue); color: var(--on-blue);
  cursor: pointer; }
button:hover { filter: brightness(1.08); }
input:focus-visible, button:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem; }
li button { display: flex; align-items: baseline; flex-wrap: wrap; justify-content: space-between; gap: 0 .75rem;
  background: transparent; color: inherit; border-color: var(--line); text-align: left; }
li small { color: var(--soft); font-weight: 400; }
@media (max-width: 28rem) { body { padding: 0; place-items: stretch; }
  main { border: 0; border-radius: 0; max-width: none; padding: 1.25rem; } }
"""

_ICON = (
    '<svg width="36" height="36" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8"'
    ' stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<circle cx="8" cy="12" r="4.5"/><path d="M12.5 12H22v4M18 12v3"/></svg>'
)


def login_page(
    action: str, *, client_name: str, login: str = "", failed: bool = False, hints: Iterable[Person] = ()
) -> str:
    """
    The sign-in form; it posts ``login`` and ``password`` to ``action``.

    Args:
        login: what was typed before.
        failed: say that login and password do not fit.
        hints: people who get a button that signs them in at once.
    """
    focus = ("", " autofocus") if failed else (" autofocus", "")
    error = '<p class="error" role="alert">Invalid login and password.</p>' if failed else ""
    return _page(
        TITLE,
        f"""<p>Sign in to continue to <strong>{escape(client_name)}</strong>.</p>
{error}
<form method="post" action="{escape(action)}">
<label for="login">Login or e-mail address</label>
<input id="login" name="login" value="{escape(login)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" required{focus[0]}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{focus[1]}>
<button type="submit">Sign in</button>
</form>
{_hints(action, list(hints))}""",
    )


def _hints(action: str, people: list[Person]) -> str:
    if not people:
        return ""
    return f"<h2>Or take one of the demo accounts</h2>\n<ul>\n{''.join(_hint(action, p) for p in people)}</ul>"


def _hint(action: str, person: Person) -> str:
    groups = ", ".join(person.groups) or "no groups"
    return f"""<li><form method="post" action="{escape(action)}">
<input type="hidden" name="login" value="{escape(person.login)}">
<input type="hidden" name="password" value="{escape(person.password)}">
<button type="submit"><span>Sign in as {escape(person.name)}</span> <small>{escape(groups)}</small></button>
</form></li>
"""


def device_page(action: str, user_code: str, *, invalid: bool) -> str:
    """The form for a device flow's code; it posts ``user_code`` to ``action``."""
    error = '<p class="error" role="alert">Invalid or expired user code.</p>' if invalid else ""
    return _page(
        "Enter the code",
        f"""<p>Type the code that your program shows.</p>
{error}
<form method="post" action="{escape(action)}">
<label for="user_code">Code</label>
<input id="user_code" name="user_code" value="{escape(user_code)}" autocomplete="off" spellcheck="false" required>
<button type="submit">Continue</button>
</form>""",
    )


def device_done_page(client_name: str) -> str:
    """The end of a device flow."""
    return _page("Signed in", f"<p><strong>{escape(client_name)}</strong> may go on; you can close this page.</p>")


def error_page(status: int, text: str) -> str:
    """A refusal that stays with the browser."""
    phrase = HTTPStatus(status).phrase
    return _page(phrase, f'<p class="error" role="alert">{escape(text)}</p>')


def welcome_page(issuer: str) -> str:
    """The issuer's root."""
    url = escape(f"{issuer}/.well-known/openid-configuration")
    return _page(TITLE, f'<p>It speaks OpenID Connect: <a href="{url}">discovery document</a>.</p>')


def confirm_page(action: str, name: str, fields: Iterable[tuple[str, str]]) -> str:
    """The question before a sign-out that the browser's session does not vouch for."""
    hidden = "".join(f'<input type="hidden" name="{escape(key)}" value="{escape(value)}">\n' for key, value in fields)
    return _page(
        "Sign out?",
        f"""<p>You are signed in as <strong>{escape(name)}</strong>.</p>
<form method="post" action="{escape(action)}">
{hidden}<input type="hidden" name="confirm" value="yes">
<button type="submit">Sign out</button>
</form>""",
    )


def signed_out_page() -> str:
    """The end of a sign-out that leads nowhere else."""
    return _page("Signed out", "<p>You are signed out of the demo identity provider.</p>")


def _page(heading: str, body: str) -> str:
    title = heading if heading == TITLE else f"{heading} – {TITLE}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>{_ICON}<h1>{escape(heading)}</h1></header>
{body}
<p class="notice" style="margin: 1.5rem 0 0">{NOTICE}</p>
</main>
</body>
</html>
"""
