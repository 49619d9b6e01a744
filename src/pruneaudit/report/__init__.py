"""Turns result tables into a self-contained HTML page, a terminal table and other summaries."""
