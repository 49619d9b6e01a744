"""Figures of a report: one description each."""
