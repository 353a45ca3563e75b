"""Read a store with nothing but NumPy, as examples/store_format.md describes it: a second reading of the same page.

usage: python plain_store_reader.py FOLDER
"""

import hashlib
import json
import sys
import zlib
from pathlib import Path

import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "U64": "<u8", "U32": "<u4", "I32": "<i4", "I8": "i1", "U8": "u1"}
PARTS = (
    ("vectors", "scales", "truncated", "means"),
    ("rescore_vectors", "rescore_scales"),
    ("ids", "text_digests"),
    ("texts", "metadata"),
)
OFFSETS = dict.fromkeys(("vectors", "scales", "rescore_vectors", "rescore_scales"), "tokens_offsets") | {
    name: f"{name}_offsets" for name in ("ids", "texts", "metadata")
}


def read_manifest(folder):
    content = (folder / "manifest.json").read_bytes()
    outer = json.loads(content)
    store = outer["store"]
    text = json.dumps(store, sort_keys=True, ensure_ascii=True, indent=1)
    if hashlib.sha256(text.encode()).hexdigest() != outer["sha256"] or store["format"] != "rank-rerank embedding store":
        raise ValueError("the manifest is damaged")
    if store["version"] != 3:
        raise ValueError("this is not version 3")
    return store


def read_arrays(folder, file):
    content = (folder / file["name"]).read_bytes()
    if len(content) != file["num_bytes"] or hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise ValueError(f"{file['name']} is damaged")
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    arrays = {}
    for name, value in header.items():
        start, end = value["data_offsets"]
        arrays[name] = np.frombuffer(data[start:end], DTYPES[value["dtype"]]).reshape(value["shape"])
    return arrays


def piece(arrays, name, row):
    """What an array holds of one document."""
    if name not in OFFSETS:
        return arrays[name][row : row + 1]
    start, end = arrays[OFFSETS[name]][row : row + 2]
    return arrays[name][start:end]


def checksum(arrays, row, part):
    value = 0
    for number, name in enumerate(PARTS[part]):
        if name in arrays:
            values = piece(arrays, name, row)
            value = zlib.crc32(values.tobytes(), value ^ ((len(values) * 4 | number) & 0xFFFFFFFF))
    return value


def vectors_of(arrays, row, dtype, dim, prefix=""):
    stored = piece(arrays, f"{prefix}vectors", row)
    if dtype == "binary":
        signs = np.unpackbits(stored, axis=1)[:, :dim].astype(np.float32) * 2 - 1
        return signs / np.float32(np.sqrt(dim))
    if dtype == "int4":
        codes = np.stack([stored & 15, stored >> 4], axis=2).reshape(len(stored), dim).astype(np.int16)
        stored = np.where(codes < 8, codes, codes - 16) * 16 + 8
    values = stored.astype(np.float32)
    return values * piece(arrays, f"{prefix}scales", row)[:, None] if dtype in ("int8", "int4") else values


def read_store(folder):
    """Every document: id → (text, metadata, vectors, truncated)."""
    store = read_manifest(folder)
    dim = store["projected_dim"] or store["identity"]["dim"]
    fine = store["rescore_dtype"]
    documents = {}
    for entry in store["segments"]:
        arrays = read_arrays(folder, entry["file"])
        count = entry["num_documents"]
        deleted = np.zeros(count, bool)
        if entry["deleted"] is not None:
            bits = read_arrays(folder, entry["deleted"])["deleted"]
            deleted = np.unpackbits(bits, count=count).astype(bool)
        for row in np.flatnonzero(~deleted).tolist():
            for part in range(4):
                if checksum(arrays, row, part) != arrays["checksums"][row, part]:
                    raise ValueError(f"row {row} of {entry['file']['name']} is damaged")
            identifier, text, metadata = (
                piece(arrays, name, row).tobytes().decode() for name in ("ids", "texts", "metadata")
            )
            key = int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")
            first = int(np.searchsorted(arrays["id_keys"], np.uint64(key)))
            last = int(np.searchsorted(arrays["id_keys"], np.uint64(key), side="right"))
            if row not in arrays["id_rows"][first:last]:
                raise ValueError("the index of ids lacks a row")
            if arrays["means"][row].shape != (dim,):
                raise ValueError("a mean vector has other dims than the token vectors")
            vectors = vectors_of(arrays, row, fine or store["dtype"], dim, "rescore_" if fine else "")
            documents[identifier] = (text, json.loads(metadata or "{}"), vectors, bool(arrays["truncated"][row]))
    return documents


if __name__ == "__main__":
    sys.stdout.writelines(f"{key}\t{value[0]}\n" for key, value in read_store(Path(sys.argv[1])).items())
