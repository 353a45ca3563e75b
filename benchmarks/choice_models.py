"""The seeded models and the store that bench_choices.py ranks with, made where they are not there yet."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from workloads import ROOT

import rank_rerank

SEED = 0


def key_of(text: str) -> str:
    """The id of a text in the store."""
    return sha256(text.encode()).hexdigest()


def make_models(name: str, models: Path, work: list[Any]) -> None:
    """Save the seeded model or the store that a choice needs, unless it is there."""
    if name == "modernbert":
        from modernbert_source import make_folder

        make_folder(models / "modernbert")
    elif name == "stored":
        make_store(models / "store", list(dict.fromkeys(text for _, texts in work for text in texts)))
    elif name.startswith("cross-encoder") and not (models / "minilm" / "tokenizer.json").exists():
        make_cross_encoder(models / "minilm")


def make_store(folder: Path, texts: list[str]) -> None:
    """Encode texts, or those that a store lacks."""
    encoder = rank_rerank.load().encoder
    is_new = not folder.exists()
    store = (
        rank_rerank.EmbeddingStore.create(folder, encoder)
        if is_new
        else rank_rerank.EmbeddingStore.open(folder, encoder)
    )
    store.encode([{"id": key_of(text), "text": text} for text in texts])


def make_cross_encoder(folder: Path) -> None:
    """A cross-encoder of the MiniLM-L6 shape with random weights and the bundled model's tokenizer."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    torch.manual_seed(SEED)
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=1
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    shutil.copy(ROOT / "rank_rerank" / "bundled" / "tokenizer.json", folder / "tokenizer.json")
