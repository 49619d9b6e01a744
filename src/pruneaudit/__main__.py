"""`python -m pruneaudit` is `pruneaudit`."""

from pruneaudit.cli import main

main()
