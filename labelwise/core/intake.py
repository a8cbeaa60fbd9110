"""What may enter a project: which texts, which splits, and how a row that may not is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelwise.core.errors import unknown

MAX_LENGTH = 1_000_000
"""Characters; a longer text is a document, or not a text at all."""

SPLITS = ("pool", "val", "test")
"""By rank: where the same text is declared twice, the later name in this tuple wins."""

_SPLIT_OF = {
    None: "pool", "": "pool", "pool": "pool", "train": "pool", "all": "pool", "unlabelled": "pool",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken: where it stands, why (a fixed phrase), and the start of what stood there."""

    place: str
    reason: str
    value: str

    def __post_init__(self) -> None:
        # Broken characters are escaped, so that a reject can always be printed and written as UTF-8.
        shown = self.value[:200].encode("utf-8", "backslashreplace").decode()
        object.__setattr__(self, "value", shown[:200])


@dataclass(slots=True)
class Rejects:
    """Counts rejects by reason and hands each to ``write``, if given. O(1) memory per reason."""

    write: Callable[[Reject], None] | None = None
    reasons: Counter[str] = field(default_factory=Counter)

    def __call__(self, reject: Reject) -> None:
        self.reasons[reject.reason] += 1
        if self.write:
            self.write(reject)


def fault(text: object) -> str | None:
    """Why this value cannot be a text, as a fixed phrase; None if it can."""
    if not isinstance(text, str):
        return "text is missing" if text is None else "text is not a string"
    if not text or text.isspace():
        return "text is empty"
    if len(text) > MAX_LENGTH:
        return f"text is longer than {MAX_LENGTH:,} characters"
    if "\x00" in text:
        return "text holds a NUL character"
    return None if encodable(text) else "text is not valid Unicode"


def faults(texts: Sequence[object]) -> dict[int, str]:
    """``fault`` of many values at once: row -> reason, of those that cannot be texts. O(characters)."""
    try:
        whole = "".join(texts)  # type: ignore[arg-type]
        sound = "\x00" not in whole and encodable(whole)
    except TypeError:
        sound = False
    if sound:
        rows = [i for i, t in enumerate(texts) if not t or t.isspace() or len(t) > MAX_LENGTH]  # type: ignore[attr-defined, arg-type]
    else:
        rows = list(range(len(texts)))
    return {row: reason for row in rows if (reason := fault(texts[row]))}


def encodable(text: str) -> bool:
    """Whether the text holds no lone surrogate, so that UTF-8 can express it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_of(value: str | None, place: str = "split") -> str:
    """The declared split as one of ``SPLITS``; InputError naming place, value and what is allowed."""
    found = _SPLIT_OF.get(value if value is None else value.strip().lower())
    if found is None:
        raise unknown("split", value, (name for name in _SPLIT_OF if name), place)
    return found
