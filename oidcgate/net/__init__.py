"""Connections: to the browser, to the UI and to the provider."""
