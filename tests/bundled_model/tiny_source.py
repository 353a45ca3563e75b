"""A tiny encoder's weights and a bundle of made-up texts, for the tests of training by lists."""

import numpy as np

HIDDEN, INNER, LAYERS, VOCABULARY, POSITIONS = 64, 96, 3, 130, 64


def make_tensors():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(scale=0.25, size=shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": draw(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": np.zeros((2, HIDDEN), np.float32),
        "embeddings.LayerNorm.weight": np.ones(HIDDEN, np.float32),
        "embeddings.LayerNorm.bias": draw(HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        sizes = {"attention.self.query": (HIDDEN, HIDDEN), "attention.self.key": (HIDDEN, HIDDEN)}
        sizes |= {"attention.self.value": (HIDDEN, HIDDEN), "attention.output.dense": (HIDDEN, HIDDEN)}
        sizes |= {"intermediate.dense": (INNER, HIDDEN), "output.dense": (HIDDEN, INNER)}
        for name, size in sizes.items():
            tensors |= {f"{layer}.{name}.weight": draw(*size), f"{layer}.{name}.bias": draw(size[0])}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors |= {f"{layer}.{name}.weight": 1 + draw(HIDDEN), f"{layer}.{name}.bias": draw(HIDDEN)}
    return tensors


def make_bundle(sources=2, passages=40, queries=30, listed=8):
    from training.bundle import LIST_LENGTH, NO_PASSAGE, Bundle

    rng = np.random.default_rng(1)
    passage_lengths = rng.integers(5, 20, sources * passages)
    query_lengths = rng.integers(2, 6, sources * queries)
    lists = np.full((sources * queries, LIST_LENGTH), NO_PASSAGE, np.uint16)
    lists[:, :listed] = [rng.permutation(passages)[:listed] for _ in lists]
    scores = np.zeros(lists.shape, np.uint8)
    scores[:, :listed] = np.sort(rng.integers(1, 256, (len(lists), listed)), axis=1)[:, ::-1]
    relevant = np.zeros(lists.shape, np.bool_)
    relevant[::2, 3] = True
    return Bundle(
        source_names=np.array([f"source{number}" for number in range(sources)]),
        passage_tokens=rng.integers(0, 100, passage_lengths.sum()).astype(np.uint16),
        passage_lengths=passage_lengths.astype(np.uint16),
        passage_sources=np.repeat(np.arange(sources, dtype=np.uint8), passages),
        query_tokens=rng.integers(0, 100, query_lengths.sum()).astype(np.uint16),
        query_lengths=query_lengths.astype(np.uint16),
        query_sources=np.repeat(np.arange(sources, dtype=np.uint8), queries),
        query_held_back=np.arange(len(lists)) % 5 == 0,
        lists=lists,
        list_scores=scores,
        relevant=relevant,
        num_relevant=np.ones(len(lists), np.uint8),
    )
