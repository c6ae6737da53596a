"""`python -m closebulk_async.cli` is the command `closebulk`."""

from __future__ import annotations

import sys

from closebulk_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
