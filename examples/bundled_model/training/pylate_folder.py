"""A BERT encoder with a projection behind it as a model folder that rank_rerank.load and PyLate read."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from rank_rerank.arrays import AnyArray

WEIGHTS = "model.safetensors"
DENSE_FOLDER = "1_Dense"
DENSE_WEIGHT = "linear.weight"
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


def write_pylate_folder(folder: Path, encoder: Mapping[str, AnyArray], projection: AnyArray, source: Path) -> None:
    """Write the folder.

    Args:
        folder: where to; made if it is not there.
        encoder: float32 weights under transformers' names.
        projection: [dim, hidden] float32.
        source: a folder with the encoder's config.json and tokenizer.json.
    """
    dense = folder / DENSE_FOLDER
    dense.mkdir(parents=True, exist_ok=True)
    for name in ENCODER_FILES:
        (folder / name).write_bytes((source / name).read_bytes())
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in encoder.items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    save_file({DENSE_WEIGHT: np.ascontiguousarray(projection)}, dense / WEIGHTS, {"format": "pt"})
    dim, hidden = projection.shape
    write_json(dense / "config.json", {"in_features": hidden, "out_features": dim, **DENSE})
    longest = len(encoder["embeddings.position_embeddings.weight"])
    lengths = {"query_length": longest, "document_length": longest}
    write_json(folder / "config_sentence_transformers.json", {**SETTINGS, **lengths})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    modules = zip(("", dense.name), MODULES, strict=True)
    write_json(
        folder / "modules.json",
        [{"idx": place, "name": str(place), "path": path, "type": kind} for place, (path, kind) in enumerate(modules)],
    )


def read_pylate_folder(folder: Path) -> tuple[dict[str, AnyArray], AnyArray]:
    """The encoder's weights and the projection that write_pylate_folder wrote."""
    return load_file(folder / WEIGHTS), load_file(folder / DENSE_FOLDER / WEIGHTS)[DENSE_WEIGHT]


def write_json(path: Path, content: object) -> None:
    """JSON that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
