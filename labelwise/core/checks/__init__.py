"""The public contract: what every component promises, as functions that fail loudly.

``check("strategies", component)`` runs every promise of that kind of component and returns their
names; the first broken one raises ContractError with the promise's name. A plugin in another
package calls the same function in its own tests.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from labelwise.core.errors import ContractError, LabelwiseError, unknown

KINDS = (
    "scorers", "strategies", "encoders", "trainers", "calibrators", "aggregators", "oracles", "logs", "artefacts",
)  # fmt: skip


def promises(kind: str) -> Mapping[str, Callable[[Any], None]]:
    """The promises of a kind of component: name -> check, each documented by its docstring."""
    if kind not in KINDS:
        raise unknown("kind of component", kind, KINDS)
    module = importlib.import_module(f"labelwise.core.checks.{kind}")
    return {check.__name__: check for check in module.PROMISES}


def check(kind: str, component: Any) -> list[str]:
    """Check every promise. ``component`` is an instance; for logs and artefacts a function making an empty one."""
    kept = []
    for name, promise in promises(kind).items():
        try:
            promise(component)
        except LabelwiseError as error:
            raise ContractError(f"{kind}: {component!r} breaks {name!r}: {error}") from error
        except Exception as error:
            raise ContractError(f"{kind}: {component!r} breaks {name!r}: raised {error!r}") from error
        kept.append(name)
    return kept


def ensure(condition: bool, message: str) -> None:
    """The assertion of contract checks; unlike ``assert`` it survives ``python -O``."""
    if not condition:
        raise ContractError(message)
