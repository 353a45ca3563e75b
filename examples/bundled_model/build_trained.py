"""Make model folders of the bundled model's kind, INT8, of what train_on_gpu.py wrote.

usage: python examples/bundled_model/build_trained.py --trained FOLDER --output FOLDER [--mix 1.0]
                                                     [--only encoder|student] [--source FOLDER]

OUTPUT/encoder has the trained encoder with its projection, OUTPUT/student the one of fewer layers; OUTPUT/*_float the
same in float32. --mix takes so much of the encoder's training and the rest of the source's weights: log.json has what
each mix gave on what was held back. --source is what was trained from, the folder that build.py writes without --model,
if the bundled model is no longer that. Needs the extra "export".
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from build import TRAINING_FILE, build, sha256, write_all
from safetensors.numpy import save_file
from training.pylate_folder import WEIGHTS, write_json, write_pylate_folder
from unpack import read_source

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.find import bundled_folder

LAYER = "encoder.layer."
KINDS = ("encoder", "student")


def main() -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--mix", type=float, default=1.0)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--source", type=Path)
    options = parser.parse_args()
    if not 0 <= options.mix <= 1:
        parser.error(f"--mix is a share from 0 to 1, not {options.mix}")
    source = read_source(options.source)
    for kind in KINDS if options.only is None else (options.only,):
        folder = options.output / f"{kind}_float"
        layers = read_layers(options.trained, kind)
        if kind == "encoder":
            write_encoder(folder, mixed(source, layers, options.mix), options.trained)
        else:
            write_student(folder, source, layers)
        write_json(folder / TRAINING_FILE, history(options, kind))
        files, _ = build(folder, None)
        write_all(options.output / kind, files)
        print(f"{options.output / kind}: {len(files['model_int8.onnx']):,} bytes")


def read_layers(trained: Path, kind: str) -> dict[str, AnyArray]:
    """The layers' weights, float32, under transformers' names."""
    tensors: dict[str, AnyArray] = {}
    for path in sorted(trained.glob(f"{kind}_*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            tensors |= {name: arrays[name].astype(np.float32) for name in arrays.files}
    if not tensors:
        raise SystemExit(f"{trained} has no {kind}_*.npz: did its training fail? log.json says")
    return tensors


def mixed(source: Mapping[str, AnyArray], layers: Mapping[str, AnyArray], mix: float) -> dict[str, AnyArray]:
    """The source's tensors with its layers moved towards the trained ones by a share."""
    moved = {name: source[name] + np.float32(mix) * (tensor - source[name]) for name, tensor in layers.items()}
    return {**source, **moved}


def write_encoder(folder: Path, tensors: Mapping[str, AnyArray], trained: Path) -> None:
    """The float32 folder of the encoder with the projection trained with it."""
    with np.load(trained / "projections.npz", allow_pickle=False) as projections:
        projection = projections["trained"].astype(np.float32)
    write_pylate_folder(folder, tensors, projection, bundled_folder())


def write_student(folder: Path, source: Mapping[str, AnyArray], layers: Mapping[str, AnyArray]) -> None:
    """The float32 folder of an encoder without a projection: the source's embeddings and fewer layers."""
    folder.mkdir(parents=True, exist_ok=True)
    embeddings = {name: tensor for name, tensor in source.items() if not name.startswith(LAYER)}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in {**embeddings, **layers}.items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    config = json.loads((bundled_folder() / "config.json").read_bytes())
    count = len({name.split(".")[2] for name in layers})
    write_json(folder / "config.json", {**config, "num_hidden_layers": count})
    (folder / "tokenizer.json").write_bytes((bundled_folder() / "tokenizer.json").read_bytes())


def history(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """What was trained how, for provenance.json and the card."""
    log = json.loads((options.trained / "log.json").read_bytes())
    arguments = log["setup"]["options"]
    mix = options.mix if kind == "encoder" else 1.0
    what = "trained for late interaction" if kind == "encoder" else f"{len(log['student']['layers'])} layers, distilled"
    seconds = f"--seconds {arguments['seconds']} --seed {arguments['seed']} --source zero_shot"
    folders = "--output models --source zero_shot"
    return {
        "script": "examples/bundled_model/train_on_gpu.py",
        "title": what,
        "card": f"gpu_{kind}_model_card.md",
        "commands": [
            "python examples/bundled_model/build.py --output zero_shot",
            "python examples/bundled_model/prepare_gpu_data.py --data FOLDER --output lists.xz",
            f"python examples/bundled_model/train_on_gpu.py --data lists.xz --output trained {seconds}",
            f"python examples/bundled_model/build_trained.py --trained trained {folders} --mix {mix}",
        ],
        "mix": mix,
        "options": {name: arguments[name] for name in ("dim", "layers", "seconds", "seed")},
        "device": log["setup"]["device"],
        "steps": log[kind]["losses"][-1][0] if log[kind].get("losses") else 0,
        "data_sha256": log["setup"].get("data_sha256"),
        "files_sha256": {
            path.name: sha256(path.read_bytes()) for path in sorted(options.trained.glob(f"{kind}_*.npz"))
        },
    }


if __name__ == "__main__":
    main()
