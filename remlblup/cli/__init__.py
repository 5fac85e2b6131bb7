"""The command line: ``remlblup demo | fit | blup | crosscheck | write | validate | warmup``.

Exit codes: 0 all well; 1 a fit that did not converge, or a validation that failed; 2 wrong input; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from remlblup.cli.options import in_options
from remlblup.errors import RemlBlupError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; wrong input is told on stderr, without a traceback."""
    from remlblup.linalg.interrupts import interrupted_as_such

    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["validate"]:  # it has a parser of its own
            from remlblup.cli.commands import validate

            return validate(arguments[1:])
        from remlblup.cli.parser import make_parser

        parser = make_parser()
        given = parser.parse_args(arguments)
        if given.run is None:
            parser.print_help()
            return 2
        return interrupted_as_such(given.run)(given)
    except RemlBlupError as error:
        return complain(str(error))
    except MemoryError as error:
        from remlblup.linalg.memory import named

        return complain(str(named("this command", str(error))))
    except BrokenPipeError:  # the reader of a pipe, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        print("remlblup: interrupted", file=sys.stderr)
        return 130


def complain(message: str) -> int:
    """Say what is wrong, in the options of the command line; 2."""
    print(f"remlblup: {in_options(message)}", file=sys.stderr)
    return 2
