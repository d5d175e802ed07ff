"""oidcgate: one login for the cluster's web UIs, and everybody's own token on every request."""

__version__ = "0.1.0"
