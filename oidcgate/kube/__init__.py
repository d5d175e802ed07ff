"""What the gate asks of an API server: who somebody is there, and what they may do."""
