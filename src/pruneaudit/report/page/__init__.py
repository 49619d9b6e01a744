"""The page: one HTML file that contains everything it needs."""
