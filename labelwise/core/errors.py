"""Everything Labelwise raises on purpose, in one tree.

::

    LabelwiseError
    ├── InputError            what the user gave cannot be used           exit 2, HTTP 422
    │   └── MissingExtra      an optional dependency is not installed
    ├── WrongMoment           right request, too early or too late        exit 3, HTTP 409
    │   └── MissingInput      a Pool lacks what a component needs
    ├── ContractError         a component broke a promise                 exit 4, HTTP 500
    └── DamagedRecord         a file is not what was written              exit 5, HTTP 500

Every message names the place, the value, what is allowed and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabelwiseError(Exception):
    """Root of the tree; ``exit_code`` and ``status`` are what the faces answer."""

    exit_code = 1
    status = 500


class InputError(LabelwiseError):
    """The user's input cannot be used as it is."""

    exit_code = 2
    status = 422


class MissingExtra(InputError):
    """An optional dependency is missing; the message names the extra that brings it."""

    def __init__(self, feature: str, extra: str) -> None:
        # the arguments themselves are kept, so that the error survives the way back from a worker process
        super().__init__(feature, extra)

    def __str__(self) -> str:
        feature, extra = self.args
        return f"{feature} needs the extra {extra!r}: pip install 'labelwise[{extra}]'"


class WrongMoment(LabelwiseError):
    """A sensible request that cannot be met yet, or any more."""

    exit_code = 3
    status = 409


class MissingInput(WrongMoment):
    """A component asked the pool for something no step has provided."""


class ContractError(LabelwiseError):
    """A component broke a promise of its protocol."""

    exit_code = 4


class DamagedRecord(LabelwiseError):
    """A stored file is missing or its content is not what was written."""

    exit_code = 5


def unknown(what: str, value: object, allowed: Iterable[str], place: str = "") -> InputError:
    """One sentence for a name that does not exist: where, what, the nearest name, all names."""
    names = sorted(str(name) for name in allowed)
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    where = f"{place}: " if place else ""
    return InputError(f"{where}unknown {what} {value!r}.{hint} Known: {shown or 'none'}.")
