"""MPNet and DeBERTa with random weights, and their attention in NumPy as the papers read."""

import math

import numpy as np
import small_bert

from rank_rerank.checkpoints.relative_positions import RelativeConfig, rows_of_distances

MPNET = {
    "model_type": "mpnet",
    "type_vocab_size": 0,
    "position_offset": 2,
    "pad_token_id": 1,
    "relative": RelativeConfig("bias", 32, 128),
}
SPAN = {"num_rows": 64, "max_distance": 512, "has_norm": True}
DEBERTA = {"model_type": "deberta-v2", "type_vocab_size": 0, "has_positions": False}
KINDS = {
    "MPNet": MPNET,
    "DeBERTa": {**DEBERTA, "relative": RelativeConfig("disentangled", **SPAN)},
    "DeBERTa, layers of their own": {
        **DEBERTA,
        "relative": RelativeConfig("disentangled", has_own_layers=True, **SPAN),
        "has_positions": True,
        "type_vocab_size": 2,
    },
    "DeBERTa, one term": {**DEBERTA, "relative": RelativeConfig("disentangled", has_key_term=False, **SPAN)},
    "DeBERTa, the other term": {
        **DEBERTA,
        "relative": RelativeConfig("disentangled", 1024, 512, is_bucketed=False, has_query_term=False),
        "hidden_size": 60,
        "num_heads": 3,
    },
}


def make_config(**changes):
    return small_bert.make_config(**changes)


def make_tensors(config, seed=0):
    tensors = small_bert.make_tensors(config, seed)
    random = np.random.default_rng(seed + 1)
    relative, hidden = config.relative, config.hidden_size

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    if relative.kind == "bias":
        return tensors | {"distances.bias": normal(relative.num_rows, config.num_heads)}
    tensors["distances.table"] = normal(relative.num_rows, hidden)
    if relative.has_norm:
        tensors["distances.norm.weight"], tensors["distances.norm.bias"] = 1 + normal(hidden, scale=0.2), normal(hidden)
    for layer in range(config.num_layers if relative.has_own_layers else 0):
        for term in ("key", "query"):
            name = f"layers.{layer}.distance_{term}"
            tensors[f"{name}.weight"] = normal(hidden, hidden, scale=1.5 / math.sqrt(hidden))
            tensors[f"{name}.bias"] = normal(hidden, scale=0.2)
    return tensors


def reference_hidden(tensors, config, text, attention=None):
    """The last layer's rows of one text, in float64."""
    relative, heads = config.relative, config.num_heads
    distances = np.arange(len(text))[None] - np.arange(len(text))[:, None]  # [queries, keys]
    rows = rows_of_distances(relative, len(text))[distances + len(text) - 1]

    def attend_of(exact, name):
        def attend(query, key, value, mask):
            scores = np.einsum("qhd,khd->hqk", query, key)
            if relative.kind == "disentangled":
                scores = scores + products(exact, name, query, key)
            scores = scores / math.sqrt(query.shape[2] * relative.num_products)
            if relative.kind == "bias":
                scores = scores + exact["distances.bias"][rows].transpose(2, 0, 1)
            scores = np.where(mask, scores, -np.inf)
            weights = np.exp(scores - scores.max(axis=2, keepdims=True))
            weights /= weights.sum(axis=2, keepdims=True)
            return np.einsum("hqk,khd->qhd", weights, value).reshape(len(query), -1)

        return attend

    def products(exact, name, query, key):
        table = exact["distances.table"]
        if relative.has_norm:
            table = small_bert.normalize(table, config) * exact["distances.norm.weight"] + exact["distances.norm.bias"]

        def projected(term):
            layer = f"{name}.{'distance_' if relative.has_own_layers else ''}{term}"
            projection = table @ exact[f"{layer}.weight"].T + exact[f"{layer}.bias"]
            return projection.reshape(len(table), heads, -1)[rows]  # [queries, keys, heads, size]

        total = 0
        if relative.has_key_term:
            total = total + np.einsum("qhd,qkhd->hqk", query, projected("key"))
        if relative.has_query_term:
            total = total + np.einsum("khd,qkhd->hqk", key, projected("query"))
        return total

    return small_bert.reference_hidden(tensors, config, text, attention, attend_of=attend_of)
