"""The door of the command line: `arcwise` and `python -m arcwise`."""

from __future__ import annotations

import io
import signal
import sys

from arcwise.cli.run import run


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be no text at all
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when `head` has seen enough
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
