"""
Any other UI.

Pure: data only.
"""

from oidcgate.proxy.ui.preset import Preset

PLAIN = Preset(name="plain")
