"""What tests of the server share: a server of the bundled model, and loopback as the only network."""

import pytest
from model_folders import write_cross_encoder
from servers import allow_loopback, server_thread

from rank_rerank.rerankers import CascadeReranker, CascadeStage, load
from rank_rerank.serving.catalog import ServedModel


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    allow_loopback(monkeypatch)


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory):
    return load(write_cross_encoder(tmp_path_factory.mktemp("models") / "cross"), runtime="numba")


@pytest.fixture(scope="session")
def models(reranker, cross_encoder):
    cascade = CascadeReranker(reranker, [CascadeStage(cross_encoder, keep=3)])
    served = [ServedModel("bundled", reranker), ServedModel("judge", cross_encoder), ServedModel("best", cascade)]
    for model in served:
        model.warm_up()
    return served


@pytest.fixture(scope="module")
def server(models):
    # a test's requests are answered however slow the machine is
    with server_thread(models, deadline_s=3600, max_deadline_s=3600) as (client, service):
        yield client, service


@pytest.fixture
def client(server):
    return server[0]
