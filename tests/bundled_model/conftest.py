import sys
from pathlib import Path

import pytest

FOLDER = str(Path(__file__).resolve().parents[2] / "examples" / "bundled_model")
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)


@pytest.fixture(scope="module")
def one_thread():
    """Sums of several threads may be added in another order each time; and on small arrays more of them only spin."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
