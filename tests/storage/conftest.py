import os

import pytest
from small_stores import fill


@pytest.fixture
def store(tmp_path):
    return fill(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    """Flushing protects from power cuts, which no test makes, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
