"""What the tests of the store share."""

from __future__ import annotations

import pytest

from labelwise.core import Event


def event(key, kind="voted", **data):
    return Event(kind=kind, key=key, actor="ann", data=data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"
