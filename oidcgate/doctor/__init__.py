"""Walks from the browser's address to the cluster UI, hop by hop, and says which one does not hold and what to do."""
