"""The how-to's component keeps the scorers' contract, as the page says."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_component_of_the_how_to_keeps_its_contract() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "plugin.md").read_text(encoding="utf-8")
    component, usage = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    exec(compile(component + usage, "plugin.md", "exec"), {"__name__": __name__})  # noqa: S102 - the page is ours
