"""`python -m pruneaudit` is `pruneaudit`."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109 - as few imports as can be
    del sys.path[0]  # put there by Python: a file of the working folder would hide an installed module

from pruneaudit.cli import main

main()
