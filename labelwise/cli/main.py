"""``labelwise``: the command line. Only Typer is imported here, so that ``--help`` is instant."""

import errno
import io
import os
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import labelwise
from labelwise.cli import data, model, predict, rehearse, ui, work

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
"""What the system says when a path was named that cannot be used."""


class Program(TyperGroup):
    """Every expected failure of a command is one line on stderr and the exit code of the error tree."""

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            _fail("stopped; everything recorded so far is kept; the same command completes it.", 130)
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): nothing to say and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except OSError as error:
            full = error.errno in FULL
            if not full and error.errno not in REFUSED:
                raise
            _fail(
                f"{error.filename or 'disk'}: {error.strerror}."
                + (" What was recorded is kept; free some space and run the same command again." if full else ""),
                3 if full else 2,
            )
        except Exception as error:
            # Looked up, not imported: core brings numpy. Where it was never needed, the error is not ours.
            errors = sys.modules.get("labelwise.core.errors")
            if errors is None or not isinstance(error, errors.LabelwiseError):
                raise
            _fail(str(error), error.exit_code)


app = typer.Typer(
    name="labelwise",
    cls=Program,
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
predict.register(app)
rehearse.register(app)
app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")


def main() -> None:
    """Run the command that the arguments name."""
    warnings.showwarning = _warn
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a letter shows its number instead; stderr does so by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    ui.say(f"labelwise: warning: {message}")


def _fail(message: str, code: int) -> NoReturn:
    ui.say(f"labelwise: {message}")
    sys.exit(code)


if __name__ == "__main__":
    main()
