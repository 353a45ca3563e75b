"""A BERT encoder in plain PyTorch: every layer trained, embeddings as they were, few calls a layer."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, layer_norm, scaled_dot_product_attention

from rank_rerank.arrays import AnyArray

HEAD_SIZE = 32
EPSILON = 1e-12
EMBEDDINGS = "embeddings."
# the parts of a layer under transformers' names, in which they are read and saved
ATTENDED = ("attention.self.query", "attention.self.key", "attention.self.value")
PARTS = {
    "attended": ATTENDED,
    "out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "norm": ("output.LayerNorm",),
}


class Layer(nn.Module):
    """One layer; query, key and value are one matrix."""

    def __init__(self, hidden: int, inner: int) -> None:
        """Make room for the weights."""
        super().__init__()
        self.attended = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, EPSILON)
        self.up = nn.Linear(hidden, inner)
        self.down = nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden, EPSILON)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """The rows after the layer: [num_texts, length, hidden]; mask: [num_texts, 1, 1, length]."""
        num_texts, length, hidden = rows.shape
        parts = self.attended(rows).view(num_texts, length, 3, -1, HEAD_SIZE)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        rows = self.attention_norm(rows + self.out(seen.transpose(1, 2).reshape(num_texts, length, hidden)))
        return self.norm(rows + self.down(gelu(self.up(rows))))


class SmallBert(nn.Module):
    """An encoder of some of the source's layers.

    Args:
        tensors: the source's weights, float32, under transformers' names.
        layers: which of its layers, in order.
    """

    def __init__(self, tensors: Mapping[str, AnyArray], layers: Sequence[int]) -> None:
        """Take the weights over."""
        super().__init__()
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm"):
            self.register_buffer(name, torch.tensor(tensors[f"{EMBEDDINGS}{name}.weight"]))
        self.register_buffer("shift", torch.tensor(tensors[f"{EMBEDDINGS}LayerNorm.bias"]))
        inner, hidden = tensors["encoder.layer.0.intermediate.dense.weight"].shape
        self.layers = nn.ModuleList(Layer(hidden, inner) for _ in layers)
        for layer, number in zip(self.layers, layers, strict=True):
            layer.load_state_dict({name: torch.tensor(tensor) for name, tensor in read_layer(tensors, number).items()})

    def forward(self, ids: Tensor, is_token: Tensor) -> Tensor:
        """Unit vectors of all tokens before any projection: [num_texts, length, hidden], float32."""
        length = ids.shape[1]
        rows = embedding(ids, self.word_embeddings) + self.position_embeddings[:length] + self.token_type_embeddings[0]
        rows = layer_norm(rows, rows.shape[-1:], self.LayerNorm, self.shift, EPSILON)
        mask = is_token[:, None, None, :]
        # on processors without bfloat16 products it would be slower
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.device.type == "cuda"):
            for layer in self.layers:
                rows = layer(rows, mask)
        return nn.functional.normalize(rows.float(), dim=-1)

    def tensors(self) -> dict[str, AnyArray]:
        """The layers' weights under transformers' names, float16."""
        found: dict[str, AnyArray] = {}
        for number, layer in enumerate(self.layers):
            for name, tensor in layer.state_dict().items():
                part, kind = name.split(".")
                names = PARTS[part]
                for place, chunk in zip(names, tensor.chunk(len(names)), strict=True):
                    found[f"encoder.layer.{number}.{place}.{kind}"] = chunk.detach().half().cpu().numpy()
        return found


def read_layer(tensors: Mapping[str, AnyArray], number: int) -> dict[str, AnyArray]:
    """The weights of one layer under this module's names."""
    return {
        f"{part}.{kind}": np.concatenate([tensors[f"encoder.layer.{number}.{name}.{kind}"] for name in names])
        for part, names in PARTS.items()
        for kind in ("weight", "bias")
    }
