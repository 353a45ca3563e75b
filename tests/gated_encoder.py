"""mGTE's encoder in plain PyTorch, from its published definition: transformers has no class of it.

Written from the description in Zhang et al. 2024 (mGTE) and the published configuration's keys, by module and tensor
names as its files have them. Angles are computed in float64, so that a mistake of float32 would show.
"""

import json
import math

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_new": lambda values: functional.gelu(values, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}
SETTINGS = {
    "architectures": ["NewForSequenceClassification"],
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        "AutoModelForSequenceClassification": "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification",
    },
    "model_type": "new",
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 1,
    "layer_norm_type": "layer_norm",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "rope",
    "rope_theta": 20000.0,
    "rope_scaling": {"type": "ntk", "factor": 8.0},
    "pack_qkv": True,
    "pad_token_id": 1,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "logn_attention_scale": False,
    "logn_attention_clip1": False,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
    "id2label": {"0": "LABEL_0"},
}


class Attention(nn.Module):
    def __init__(self, settings):
        super().__init__()
        size = settings["hidden_size"]
        self.num_heads, self.is_packed = settings["num_attention_heads"], settings["pack_qkv"]
        for name, width in (("qkv", 3 * size),) if self.is_packed else (("q", size), ("k", size), ("v", size)):
            setattr(self, f"{name}_proj", nn.Linear(size, width))
        self.o_proj = nn.Linear(size, size)

    def forward(self, rows, seen, angles):
        parts = (
            self.qkv_proj(rows).chunk(3, -1)
            if self.is_packed
            else [self.q_proj(rows), self.k_proj(rows), self.v_proj(rows)]
        )
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        query, key = turn(query, angles), turn(key, angles)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~seen[:, None, None, :], -torch.inf).softmax(-1)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2))


class Feed(nn.Module):
    def __init__(self, settings):
        super().__init__()
        size, inner = settings["hidden_size"], settings["intermediate_size"]
        self.up_gate_proj, self.down_proj = nn.Linear(size, 2 * inner, bias=False), nn.Linear(inner, size)
        self.activation = ACTIVATIONS[settings["hidden_act"]]

    def forward(self, rows):
        up, gate = self.up_gate_proj(rows).chunk(2, -1)
        return self.down_proj(up * self.activation(gate))


class Layer(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.attention, self.mlp = Attention(settings), Feed(settings)
        self.attn_ln, self.mlp_ln = (
            nn.LayerNorm(settings["hidden_size"], settings["layer_norm_eps"]) for _ in range(2)
        )

    def forward(self, rows, seen, angles):
        rows = self.attn_ln(rows + self.attention(rows, seen, angles))
        return self.mlp_ln(rows + self.mlp(rows))


class Encoder(nn.Module):
    """(token ids, mask of what is seen) → the last layer's rows."""

    def __init__(self, settings):
        super().__init__()
        size = settings["hidden_size"]
        self.settings = settings
        self.embeddings, self.encoder = nn.Module(), nn.Module()
        self.embeddings.word_embeddings = nn.Embedding(settings["vocab_size"], size)
        if settings["type_vocab_size"]:
            self.embeddings.token_type_embeddings = nn.Embedding(settings["type_vocab_size"], size)
        self.embeddings.LayerNorm = nn.LayerNorm(size, settings["layer_norm_eps"])
        self.encoder.layer = nn.ModuleList([Layer(settings) for _ in range(settings["num_hidden_layers"])])

    def forward(self, token_ids, seen, types=None):
        rows = self.embeddings.word_embeddings(token_ids)
        if self.settings["type_vocab_size"]:
            rows = rows + self.embeddings.token_type_embeddings(torch.zeros_like(token_ids) if types is None else types)
        rows = self.embeddings.LayerNorm(rows)
        head_size = self.settings["hidden_size"] // self.settings["num_attention_heads"]
        positions = torch.arange(token_ids.shape[1], dtype=torch.float64)
        angles = positions[:, None] * frequencies(self.settings, head_size)
        for layer in self.encoder.layer:
            rows = layer(rows, seen, angles)
        return rows


class Classifier(nn.Module):
    """(token ids, mask) → logits."""

    def __init__(self, settings):
        super().__init__()
        self.new = Encoder(settings)
        self.new.pooler = nn.Module()
        self.new.pooler.dense = nn.Linear(settings["hidden_size"], settings["hidden_size"])
        self.classifier = nn.Linear(settings["hidden_size"], len(settings["id2label"]))

    def forward(self, token_ids, seen, types=None):
        return self.classifier(torch.tanh(self.new.pooler.dense(self.new(token_ids, seen, types)[:, 0])))


def frequencies(settings, head_size):
    """Angles of position 1, float64 [head_size / 2]."""
    exponents = torch.arange(0, head_size, 2, dtype=torch.float64) / head_size
    scaling, theta = settings.get("rope_scaling"), settings["rope_theta"]
    if scaling is None or scaling["factor"] <= 1:
        return theta**-exponents
    factor, mixed = scaling["factor"], scaling.get("mixed_b")
    if mixed is None:
        return (theta * factor) ** -exponents / factor ** (2 / head_size)
    steps = torch.arange(1, head_size // 2 + 1, dtype=torch.float64)
    return theta**-exponents / torch.exp(math.log(factor) * (steps / (head_size / 2)) ** mixed)


def turn(heads, angles):
    """Each pair (x[k], x[k + d/2]) by its angle."""
    first, second = heads.chunk(2, -1)
    cosines, sines = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)


def make(vocab_size, kind=Classifier, **changes):
    """Settings, and a model with random weights that are large enough that every part of it shows."""
    torch.manual_seed(0)
    settings = {**SETTINGS, "vocab_size": vocab_size, **changes}
    model = kind(settings).eval()
    for name, parameter in model.named_parameters():
        is_norm = "LayerNorm.weight" in name or "_ln.weight" in name
        nn.init.normal_(parameter, mean=float(is_norm), std=0.2 if parameter.ndim == 1 else 0.15)
    return settings, model


def save(folder, settings, model, tokenizer, dtype=torch.float32):
    """A folder as it is published."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    save_file({name: tensor.to(dtype) for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings))
    return folder
