"""Checkpoints of every family, made by the families' own libraries, with seeded random weights.

Run with an interpreter that has PyLate 1.6, sentence-transformers 6.2 or colbert-ai 0.2, beside this library's base
packages (they need different versions of each other's packages); with any other the tests are skipped and say why.
"""

import os
from importlib.metadata import PackageNotFoundError, version

import pytest
from parity_models import make_encoder, make_tokenizer

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

NEEDED = {
    "test_pylate.py": {"pylate": "1.6", "sentence-transformers": "5."},
    "test_sentence_transformers.py": {"sentence-transformers": "6."},
    "test_colbert_ai.py": {"colbert-ai": "0.2"},
    "test_cross_encoders.py": {"sentence-transformers": "6."},
    "test_causal_rerankers.py": {"sentence-transformers": "6."},
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "parity" and (reason := missing(NEEDED.get(item.path.name, {}))):
            item.add_marker(pytest.mark.skip(reason=reason))


def missing(packages):
    for package, wanted in packages.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "none"
        if not found.startswith(wanted):
            return f"needs an interpreter with {package} {wanted}x, this one has {found}"
    return ""


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    """Make a folder with a random encoder and its tokenizer, once a kind."""
    made = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            tokenizer = make_tokenizer(kind)
            tokenizer.save_pretrained(folder)
            make_encoder(kind, len(tokenizer)).save_pretrained(folder)
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture(autouse=True)
def _nothing_is_reported(caplog):
    """What these libraries save holds no key that this library does not know."""
    yield
    said = [record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)]
    assert not [line for line in said if "is not followed" in line]
