"""Signals: what the models of a release say of the audit data."""
