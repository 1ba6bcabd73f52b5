"""Start the command line: python -m plqlite, or plqlite."""

import sys

from plqlite import console


def main() -> int:
    """Import what takes seconds only now, when Ctrl-C ends the program in one line."""
    if sys.argv[1:2] in (["score"], ["report"]):
        from plqlite.scale.commands import COMMANDS

        return COMMANDS[sys.argv[1]](sys.argv[2:])
    from plqlite import command_line

    return command_line.main()


def run() -> None:
    """Run the command line of this process, and end it with the exit status."""
    console.run(main)


if __name__ == "__main__":
    run()
