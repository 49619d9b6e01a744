"""Pruning networks of the user's own, outside a study; torch is imported when networks are."""
