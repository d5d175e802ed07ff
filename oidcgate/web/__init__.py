"""The gate itself: what a request meets, in the order in which it meets it."""
