"""UI presets: what the gate must know of each UI, one small table each."""

from oidcgate.proxy.ui.dashboard import DASHBOARD_2, DASHBOARD_7
from oidcgate.proxy.ui.headlamp import HEADLAMP
from oidcgate.proxy.ui.plain import PLAIN
from oidcgate.proxy.ui.preset import Preset

PRESETS = {preset.name: preset for preset in (DASHBOARD_2, DASHBOARD_7, HEADLAMP, PLAIN)}

__all__ = ["PRESETS", "Preset"]
