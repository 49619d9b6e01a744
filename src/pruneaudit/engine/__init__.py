"""From a study to tasks, from tasks to what is on disk."""
