"""The demo cluster UI: a small stand-in for the Kubernetes Dashboard and the API server behind it."""

from oidcgate.demo.ui.evidence import Arrival
from oidcgate.demo.ui.rbac import DEFAULT_RULES, Rule
from oidcgate.demo.ui.server import DemoUI

__all__ = ["DEFAULT_RULES", "Arrival", "DemoUI", "Rule"]
