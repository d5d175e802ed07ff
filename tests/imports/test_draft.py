"""Our configuration while it is made."""

import yaml

from oidcgate.imports.draft import Draft


def test_yaml_with_comments_in_the_examples_order() -> None:
    """Sections come in the example's order, comments above their keys."""
    draft = Draft()
    draft.put("sites.0.access.groups", ["a", "b, c"])
    draft.put("sites.1.url", "https://*.example.com", comment="others")
    draft.put("sites.0.access.rules", [{"path": "/*", "public": True}])
    draft.put("listen", [":80"], fill_in="where")
    assert draft.render() == (
        "# FILL IN: where\n"
        "listen: [':80']\n"
        "sites:\n"
        "  - access:\n"
        "      groups: [a, 'b, c']\n"
        "      rules:\n"
        "        - path: /*\n"
        "          public: true\n"
        "    # others\n"
        "  - url: https://*.example.com\n"
    )
    assert yaml.safe_load(draft.render()) == draft.document
    assert draft.to_fill_in == 1
    assert repr(draft) == "<Draft sites, listen; 1 to fill in>"


def test_get() -> None:
    """What is not there is None."""
    draft = Draft()
    assert draft.get("sites.0.url") is None
    draft.put("sites.0.url", "x")
    assert (draft.get("sites.0.url"), draft.get("sites.1")) == ("x", None)


def test_scalars() -> None:
    """Texts that YAML would read as something else are quoted."""
    draft = Draft()
    draft.put("provider.client_id", "true")
    draft.put("provider.issuer", "ü: # x")
    draft.put("log.access", False)
    draft.put("tls", None)
    assert yaml.safe_load(draft.render()) == draft.document
