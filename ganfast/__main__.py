"""`python -m ganfast` is the command `ganfast`."""

import sys

from ganfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
