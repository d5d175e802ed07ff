"""Session stores: bytes by key with a time to live and compare-and-set."""
