"""Chooses a release within limits: one half of the models searches, the other half confirms."""
