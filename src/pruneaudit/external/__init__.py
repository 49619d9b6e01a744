"""Users' own networks, from and to files; torch is imported only when needed."""
