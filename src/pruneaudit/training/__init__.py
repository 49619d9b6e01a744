"""Trains one network, with hooks for pruning and defences."""
