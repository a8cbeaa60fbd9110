"""``labelwise``: the command line. Only Typer is imported here, so that ``--help`` is instant."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Annotated

import typer

import labelwise
from labelwise.cli import data, model, rehearse, work

app = typer.Typer(
    name="labelwise",
    help="Active learning for text that proves what every label was worth.\n\n"
    "Start: labelwise demo. With your own texts: labelwise init, add, advance, label, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(labelwise.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of the program itself."""


work.register(app)
rehearse.register(app)
app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")


def main() -> None:
    """Run a command; every expected failure is one line on stderr and the exit code of the error tree."""
    from labelwise.core.errors import LabelwiseError

    warnings.showwarning = _warn
    try:
        app()
    except LabelwiseError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; everything recorded so far is kept, the same command goes on from here.", 130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _fail(
            f"{error.filename or 'disk'}: {error.strerror}."
            + (" What was recorded is kept; free some space and run the same command again." if full else ""),
            3 if full else 2,
        )


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"labelwise: warning: {message}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    print(f"labelwise: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
