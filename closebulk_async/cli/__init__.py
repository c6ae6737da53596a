"""The command `closebulk`: start, watch and settle bulk actions from a shell, and a demo that needs no account.

`closebulk_async.cli.program` holds the commands and their exit codes. This module imports nothing, so that it can tell
whoever lacks the extra what to install.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRA = frozenset({"rich", "typer"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; the result is the exit code."""
    try:
        import rich  # noqa: F401 - only the live bars use it, and they would notice in the middle of a watch
        import typer  # noqa: F401 - the same question for the other half of the extra

        from closebulk_async.cli.program import run
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("closebulk needs the extra 'cli': pip install 'closebulk-async[cli]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the imports take long enough to be interrupted
        return 130
    return run(arguments)
