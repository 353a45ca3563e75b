"""What all tests share: the bundled model, opened once, and no network."""

import socket

import pytest

import rank_rerank


@pytest.fixture(scope="session")
def reranker() -> rank_rerank.ColbertReranker:
    return rank_rerank.load()


@pytest.fixture(scope="session")
def encoder(reranker) -> rank_rerank.TokenEncoder:
    return reranker.encoder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(self, address, *_):
        raise AssertionError(f"a test reached for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
