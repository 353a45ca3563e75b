import os

import pytest


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    """Flushing protects from power cuts, which no test makes, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
