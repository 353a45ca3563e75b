"""Models of a Hub that is not there: a cache as huggingface-hub leaves it, and a Hub that notes what is asked for."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

NAME, COMMIT = "owner/model", "0" * 40


def write_cache(cache, folder):
    """Put a model folder into a cache: blobs, and a snapshot of links to them."""
    root = Path(cache) / "models--owner--model"
    snapshot = root / "snapshots" / COMMIT
    (root / "refs").mkdir(parents=True)
    (root / "blobs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(sorted(Path(folder).rglob("*"))):
        if path.is_file():
            shutil.copyfile(path, root / "blobs" / f"{number:040}")
            link = snapshot / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / "blobs" / f"{number:040}")
    return Path(cache)


class FakeHub:
    """Stands for huggingface_hub.snapshot_download: serves one folder, and remembers what was asked for."""

    def __init__(self, folder, snapshot):
        self.folder, self.snapshot = Path(folder), Path(snapshot)
        self.asked, self.fetched = [], set()

    def __call__(self, name, *, allow_patterns, ignore_patterns, **options):
        self.asked.append((name, options))
        files = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        for file in filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            self.fetched.add(file)
            (self.snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / file, self.snapshot / file)
        self.snapshot.mkdir(exist_ok=True)
        return str(self.snapshot)


def block_network(monkeypatch):
    """Make every connection fail the test."""

    def refuse(*_):
        pytest.fail("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
