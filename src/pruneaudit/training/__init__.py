"""Training one network, with hooks for pruning and defences."""
