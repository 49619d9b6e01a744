"""Sentences: the only place that turns conclusions into words; layouts place them."""
