"""
Configurations for the proxies that ask the gate, one file a proxy.

Pure: text from a ``Plan``. Each holds what that proxy gets wrong by default, with the reason beside it.
"""
