import pytest
from small_stores import fill


@pytest.fixture
def store(tmp_path):
    return fill(tmp_path / "store")
