"""Published systems as studies of ours: their settings, their names and their numbers in, a `Study` out.

A system is one file here. It says what each of its settings means in a study, which recipes it has, and in its
docstring where the study differs from the system on purpose.
"""
