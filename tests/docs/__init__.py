"""What the documentation says is held to what there is."""
