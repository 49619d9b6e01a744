"""Signals: the predictions of a release's models on the audit data."""
