"""Configuration: one YAML file becomes one frozen value, or all of its problems at once."""

from oidcgate.config.load import load_config
from oidcgate.config.model import Config, Site

__all__ = ["Config", "Site", "load_config"]
