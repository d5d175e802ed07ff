"""`oidcgate explain`: what the gate would do with a request, and why."""

import argparse
import json

from oidcgate.config import load_config
from oidcgate.errors import ConfigError, Problem
from oidcgate.web.explain import explain
from oidcgate.web.question import Kind, Person, Question, read_origin


def explain_(options: argparse.Namespace) -> int:
    """
    Print it: 0 when the request goes on, if need be after a sign-in, 1 when it is refused.

    Raises:
        ConfigError: the configuration or the question is wrong.
        NoSite: the configuration has no site of that host.
    """
    kind: Kind = "script" if options.script else "websocket" if options.websocket else "page"
    question = Question(
        options.url,
        method=options.method,
        person=_person(options),
        kind=kind,
        origin=None if options.origin is None else read_origin(options.origin),
    )
    explanation = explain(load_config(options.config, files=False), question)
    text = json.dumps(explanation.to_object(), indent=2) + "\n" if options.json else explanation.to_text()
    print(text, end="")
    return 0 if explanation.passes else 1


def _person(options: argparse.Namespace) -> Person | None:
    """Whoever is described; nobody is signed in when nobody is."""
    is_somebody = options.user is not None or options.subject is not None or bool(options.group)
    if not is_somebody:
        return None
    if options.nobody:
        raise ConfigError([Problem("--nobody", "leaves no room for --user, --subject or --group")])
    return Person(options.user, options.subject, tuple(options.group))
