"""The engine: plans the tasks of a study, runs them, and stores their artifacts on disk."""
