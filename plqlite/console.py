"""What the command line and the data scripts share: how they print, and how they end."""

import io
import os
import sys
from collections.abc import Callable


def printable(text: object) -> str:
    r"""Return a text in one line for a terminal: what could move its cursor or hide a part is escaped.

    Examples
    --------
    >>> print(printable("ada\x1b[2J.png"))
    ada\x1b[2J.png
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))


def run(main: Callable[[], int | None]) -> None:
    """Run a program; if it fails, end the process with one line that says why, and an exit status.

    Parameters
    ----------
    main : returns an exit status; None stands for 0

    Raises
    ------
    SystemExit
        With what `main` returns, unless it is 0; with 1 if it meets an error that has a name, such as a full
        disk, or if nobody reads what it prints; with 130 after Ctrl-C.

    Examples
    --------
    >>> run(lambda: 0)
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console without Q̂ shows ? instead of failing
    try:
        status = main()
        print(end="", flush=True)  # what could not be printed is an error here, not after the end
    except KeyboardInterrupt:
        status = _end("interrupted", 130)
    except BrokenPipeError:  # the reader has gone, as in `… | head`
        status = _end("", 1)
    except (OSError, ValueError) as error:
        status = _end(f"error: {error}", 1)
    if status:
        sys.exit(status)


def _end(message: str, status: int) -> int:
    """Say why a program ends, and let nothing more be printed: it might fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        os.dup2(nowhere, sys.stdout.fileno())
    if message and sys.stderr is not None:
        print(printable(message), file=sys.stderr)
    return status
