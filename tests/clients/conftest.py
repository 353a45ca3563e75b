"""What the tests with real clients share: a server in a process of its own, and what rerank gives in this one.

Clients leave sockets open, which Python may notice outside of any test. So these tests are run with
``-W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning``.
"""

import pytest
from installed_clients import Known
from servers import allow_loopback, need_server, server_process

KEY = "sesame"
# the machine may be slow
PATIENCE = ("--deadline-s", "3600", "--max-deadline-s", "3600")
QUERY = "what does a river carry"
TEXTS = [
    "Cats sleep for most of the day.",
    "A river carries water from the mountains to the sea.",
    "The bridge over the river was built of stone.",
    "",
    "Ein Fluss trägt Wasser und Sand, auch 🐟.",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "clients":
            # warnings of other people's packages are theirs to mend
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def key():
    return KEY


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    allow_loopback(monkeypatch)


@pytest.fixture(scope="session")
def url():
    """The address of a server with a key, since most clients insist on one."""
    need_server()
    with server_process(*PATIENCE, env={"RANK_RERANK_API_KEY": KEY}) as running:
        yield running.url


@pytest.fixture(scope="session")
def open_url():
    """The address of a server without a key, for clients that have none; its results carry documents as strings."""
    need_server()
    with server_process(*PATIENCE, "--document", "string") as running:
        yield running.url


@pytest.fixture(scope="session")
def known(reranker):
    return Known(QUERY, TEXTS, reranker.rerank(QUERY, TEXTS))
