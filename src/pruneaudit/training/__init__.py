"""Training one network, with hooks for whatever changes how it is trained."""
