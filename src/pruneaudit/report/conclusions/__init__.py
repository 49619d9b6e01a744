"""Facts: the only place that decides what may be concluded from the tables."""
