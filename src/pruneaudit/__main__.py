"""`python -m pruneaudit` does the same as `pruneaudit`."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109 - pathlib would be one more import
    del sys.path[0]  # Python put it there: a file in the working folder would hide an installed module

from pruneaudit.cli import main

main()
