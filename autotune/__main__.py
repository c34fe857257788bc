"""`autotune` and `python -m autotune`: the command line, loaded where Ctrl-C already ends quietly."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # loading it takes half a second, in which there is nothing to save
    from autotune.cli import main as command_line

    signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()
