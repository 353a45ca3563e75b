import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')

from rank_rerank.inference.pytorch import downloads
from rank_rerank.inference.pytorch.torch_batches import places_of_tokens


def test_segments_are_neighbors_within_the_budget(monkeypatch):
    monkeypatch.setattr(downloads, "SEGMENT_BYTES", 40)
    found = downloads.plan_segments(np.array([3, 5, 0, 2, 30, 1]), bytes_a_token=4)
    assert [each.tolist() for each in found] == [[0, 1, 2, 3], [4], [5]]
    assert downloads.plan_segments(np.empty(0, np.int64), 4) == []


def test_tokens_are_found_in_padded_texts():
    padded = np.array([[1, 2, 0, 0], [0, 0, 0, 0], [3, 4, 5, 0]])
    places = places_of_tokens(np.array([2, 0, 3]), 4)
    assert padded.reshape(-1)[places].tolist() == [1, 2, 3, 4, 5]


def test_what_is_not_on_cuda_is_copied_at_once():
    target = np.zeros((2, 3), np.float32)
    copies = downloads.Downloads()
    copies.add(torch.full((2, 3), 0.5, dtype=torch.float16), target)
    assert (target == 0.5).all()
    copies.finish()


def test_a_pinned_copy_is_awaited_when_the_next_is_asked_for():
    class Event:
        def synchronize(self):
            pinned.fill_(2)

    pinned, target = torch.zeros((2, 3), dtype=torch.float16), np.zeros((2, 3), np.float32)
    copies = downloads.Downloads((pinned, Event(), target))
    copies.finish()
    assert (target == 2).all()
    assert copies.waiting is None
