"""Two finished runs compared with each other."""
