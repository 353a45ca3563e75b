"""The student: the source's encoder and a projection behind it, trained in float32 with PyTorch."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens that run at once
TOKEN_BUDGET = 2048
ENCODER_FILES = ("config.json", "tokenizer.json")
# PyLate's settings: no markers, no expansion, every token kept
SETTINGS = {
    "query_prefix": "",
    "document_prefix": "",
    "do_query_expansion": False,
    "attend_to_expansion_tokens": False,
    "skiplist_words": [],
    "similarity_fn_name": "MaxSim",
    "model_type": "ColBERT",
}
DENSE = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity", "use_residual": False}
MODULES = ("sentence_transformers.models.Transformer", "pylate.models.Dense.Dense")


class Student(nn.Module):
    """An encoder whose token vectors are projected; the first numbers of a projected vector are a smaller one.

    Word, position and type embeddings stay as they are: rare words would forget what they meant.
    """

    def __init__(self, source: Path, dim: int) -> None:
        """Load the source's weights; the projection is zero until it is fitted."""
        super().__init__()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.encoder = transformers.BertModel.from_pretrained(
            source,
            add_pooling_layer=False,
            attn_implementation="sdpa",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.encoder.embeddings.requires_grad_(requires_grad=False)
        self.projection = nn.Linear(self.encoder.config.hidden_size, dim, bias=False)
        nn.init.zeros_(self.projection.weight)

    def encode(self, batch: TokenBatch) -> Tensor:
        """The projected vectors of all tokens, packed and not yet of unit length: [num_tokens, dim]."""
        vectors: list[Tensor | None] = [None] * len(batch.lengths)
        for texts in buckets(batch.lengths.tolist()):
            rows = [torch.from_numpy(batch.token_ids[batch.offsets[text] : batch.offsets[text + 1]]) for text in texts]
            ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
            hidden = self.encoder(ids, attention_mask=mask.long()).last_hidden_state
            for text, row, is_token in zip(texts, hidden, mask, strict=True):
                vectors[text] = row[is_token]
        return self.projection(torch.cat([part for part in vectors if part is not None]))

    def save(self, folder: Path, source: Path) -> None:
        """Write a model folder that rank_rerank.load and PyLate read."""
        dense = folder / "1_Dense"
        dense.mkdir(parents=True, exist_ok=True)
        for name in ENCODER_FILES:
            (folder / name).write_bytes((source / name).read_bytes())
        tensors = {key: value.detach().contiguous() for key, value in self.encoder.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        save_file({"linear.weight": self.projection.weight.detach()}, dense / "model.safetensors", {"format": "pt"})
        dim, hidden = self.projection.weight.shape
        write_json(dense / "config.json", {"in_features": hidden, "out_features": dim, **DENSE})
        longest = self.encoder.config.max_position_embeddings
        lengths = {"query_length": longest, "document_length": longest}
        write_json(folder / "config_sentence_transformers.json", {**SETTINGS, **lengths})
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
        places = ("", dense.name)
        modules = zip(places, MODULES, strict=True)
        write_json(
            folder / "modules.json",
            [
                {"idx": place, "name": str(place), "path": path, "type": kind}
                for place, (path, kind) in enumerate(modules)
            ],
        )


def buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of like length, as many as TOKEN_BUDGET allows when all are padded to the longest."""
    texts: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda text: lengths[text], reverse=True):
        if texts and (len(texts) + 1) * lengths[texts[0]] > TOKEN_BUDGET:
            yield texts
            texts = []
        texts.append(text)
    yield texts


def principal_directions(teacher: TokenEncoder, texts: Sequence[str], dim: int) -> Tensor:
    """The directions that keep most of the token vectors' dot products, the most important first: [dim, hidden].

    The second moments are not centred: MaxSim compares vectors, not their differences from a mean.
    """
    vectors = teacher.encode_documents(list(texts)).vectors.astype(np.float64)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return torch.from_numpy(directions[:, ::-1][:, :dim].T.astype(np.float32).copy())


def write_json(path: Path, content: object) -> None:
    """JSON that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
