"""What a user probably meant by a name that is no model: the owner left out, a URL, a file, an option."""

import re
from pathlib import Path

HUB_URL = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+)/([\w.-]+)", re.ASCII)
# a Hub's name: owner and model, of these characters
HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
MODEL_FILES = (".safetensors", ".onnx", ".bin", ".json", ".pt", ".pth", ".gguf")
DEVICES = ("cpu", "cuda", "gpu", "mps")
PRECISIONS = ("int8", "fp32", "fp16", "bf16")
RUNTIMES = ("numba", "onnx", "torch")
# who publishes the models whose names begin so, in lower case; the first that fits
OWNERS = (
    ("answerai-colbert", "answerdotai"),
    ("modernbert-", "answerdotai"),
    ("colbertv2", "colbert-ir"),
    ("jina-", "jinaai"),
    ("gte-moderncolbert", "lightonai"),
    ("lateon", "lightonai"),
    ("mlateon", "lightonai"),
    ("reason-moderncolbert", "lightonai"),
    ("colbert-zero", "lightonai"),
    ("mxbai-", "mixedbread-ai"),
    ("all-", "sentence-transformers"),
    ("multi-qa-", "sentence-transformers"),
    ("paraphrase-", "sentence-transformers"),
    ("msmarco-", "sentence-transformers"),
    ("distiluse-", "sentence-transformers"),
    ("ms-marco-", "cross-encoder"),
    ("mmarco-", "cross-encoder"),
    ("stsb-", "cross-encoder"),
    ("quora-", "cross-encoder"),
    ("nli-", "cross-encoder"),
    ("qnli-", "cross-encoder"),
    ("ettin-reranker", "cross-encoder"),
    ("bge-", "BAAI"),
    ("gte-", "Alibaba-NLP"),
    ("e5-", "intfloat"),
    ("multilingual-e5", "intfloat"),
    ("qwen3-", "Qwen"),
    ("snowflake-arctic-", "Snowflake"),
    ("nomic-", "nomic-ai"),
    ("granite-embedding", "ibm-granite"),
    ("bert-base", "google-bert"),
    ("bert-large", "google-bert"),
    ("roberta-", "FacebookAI"),
    ("xlm-roberta-", "FacebookAI"),
    ("distilbert-", "distilbert"),
    ("electra-", "google"),
)


def is_hub_name(name: str) -> bool:
    """Whether a name is an owner and a model, as the Hub has them, and no file's path."""
    is_file = name.lower().endswith(MODEL_FILES)
    return HUB_NAME.fullmatch(name) is not None and not is_file and not name.startswith((".", "/", "~"))


def explain_name(name: str) -> str:
    """Why a name is no model, and what to write instead."""
    if (url := HUB_URL.match(name)) is not None:
        return f'a URL is no name of a model; write "{url[1]}/{url[2]}"'
    if "://" in name:
        return "a URL is no name of a model; download the model into a folder, and pass the folder's path"
    if (path := Path(name)).suffix.lower() in MODEL_FILES:
        parent = path.parent.as_posix()
        where = f'write "{parent}"' if parent != "." else "write its path"
        return f'"{name}" is a file\'s name, and a model is a folder with settings and a tokenizer; {where}'
    for option, values in (("device", DEVICES), ("precision", PRECISIONS), ("runtime", RUNTIMES)):
        if name.partition(":")[0].lower() in values:
            meant = "cuda" if name.lower() == "gpu" else name.lower()
            return f'there is no model folder "{name}"; if that is the {option}, write {option}="{meant}"'
    said = f'there is no model folder "{name}"'
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        return f"{said}. Check the path; a model of the Hub is written owner/model"
    owner = next((owner for beginning, owner in OWNERS if name.lower().startswith(beginning)), None)
    likely = f'probably "{owner}/{name}"' if owner is not None else f'as "owner/{name}"'
    return f"{said}; a model of the Hub is written with its owner, {likely}"
