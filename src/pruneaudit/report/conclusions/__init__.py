"""Facts: the only place that says what may be concluded from the tables."""
