"""Folders changed at random: what comes is a model or a typed error, never a crash, a hang or another error.

The long form (``-m slow``) tries 5,000 folders.
"""

import json
import random
import shutil
from contextlib import suppress

import family_folders
import model_folders as folders
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.onnx_external_data import check_external_data
from rank_rerank.checkpoints.onnx_tensors import read_onnx_outputs, read_onnx_tensors
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.errors import CheckpointError, CheckpointFormatError, RankRerankError
from rank_rerank.scoring.cross_encoder import _open_tokenizer
from rank_rerank.tokenization.tokenizer import Tokenizer

NAMES = (*family_folders.WRITERS,)
ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), 0.5]),
    st.sampled_from(["", "x", "\ud800", "../x", "[MASK]", "a" * 10_000, "torch.nn.Tanh", "\0"]),
    st.just([]),
    st.just({}),
    st.lists(st.integers(-3, 3), max_size=3),
    st.just([[[[[]]]]]),
)
RARELY = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    return {name: write(root / name.replace(" ", "-")) for name, write in family_folders.WRITERS.items()}


def use(folder):
    """Find the model, open its files and tokenizer, and tokenise: everything before a runtime computes."""
    checkpoint = find_model(folder)
    if checkpoint.is_onnx:
        check_external_data(checkpoint.model_file)
    else:
        TensorFiles(checkpoint.model_file)
    if isinstance(checkpoint, CrossEncoderCheckpoint):
        _open_tokenizer(checkpoint).tokenize("a query", ["a document", ""])
    else:
        tokenizer = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings)
        tokenizer.tokenize_documents(["a document of words", ""])
        tokenizer.tokenize_queries(["a query"])


def settings_files(folder):
    files = [*folder.rglob("*.json"), *folder.rglob("*.metadata")]
    return sorted(path.relative_to(folder) for path in files)


def paths_in(value, path=()):
    """Where something lies in a JSON value: keys and positions, outermost first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:40]:
        yield from paths_in(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def attempt(folder):
    try:
        use(folder)
    except CheckpointError:
        return
    except RankRerankError as error:
        pytest.fail(f"a model's fault was called the caller's: {error!r}")


@RARELY
@given(data=st.data(), family=st.sampled_from(NAMES), value=ODD_VALUES)
def test_any_value_of_any_setting(originals, data, family, value):
    folder = originals[family]
    path = folder / data.draw(st.sampled_from(settings_files(folder)))
    kept = path.read_bytes()
    content = json.loads(kept)
    where = data.draw(st.sampled_from(list(paths_in(content))))
    try:
        path.write_text(json.dumps(put(content, where, value)), encoding="utf-8")
        attempt(folder)
    finally:
        path.write_bytes(kept)


@RARELY
@given(data=st.data(), family=st.sampled_from(NAMES))
def test_any_damage_of_any_file(originals, data, family):
    folder = originals[family]
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "model.safetensors")
    path = data.draw(st.sampled_from(files))
    kept = path.read_bytes()
    start = data.draw(st.integers(0, len(kept)))
    end = data.draw(st.integers(start, min(len(kept), start + 50)))
    try:
        path.write_bytes(kept[:start] + data.draw(st.binary(max_size=50)) + kept[end:])
        attempt(folder)
    finally:
        path.write_bytes(kept)


@RARELY
@given(data=st.data(), value=ODD_VALUES)
def test_any_header_of_safetensors(tmp_path_factory, data, value):
    root = tmp_path_factory.mktemp("header")
    header = {name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * n, 8 * n + 8]} for n, name in enumerate("abc")}
    where = data.draw(st.sampled_from(list(paths_in(header))))
    text = json.dumps(put(header, where, value)).encode("utf-8", "surrogatepass")
    length = data.draw(st.sampled_from([len(text), 0, 2**63, len(text) + 1]))
    (root / "model.safetensors").write_bytes(length.to_bytes(8, "little") + text + bytes(24))
    with suppress(CheckpointFormatError):
        tensors = TensorFiles(root / "model.safetensors")
        for name in tensors:
            assert tensors[name].shape == tensors.shape(name)
    shutil.rmtree(root)


@RARELY
@given(content=st.binary(max_size=200), data=st.data())
def test_any_bytes_in_place_of_an_onnx_file(tmp_path_factory, content, data):
    root = tmp_path_factory.mktemp("onnx")
    good = family_folders.graph_bytes("one", "two")
    cut = data.draw(st.integers(0, len(good)))
    (root / "model.onnx").write_bytes(data.draw(st.sampled_from([content, good[:cut] + content])))
    for read in (check_external_data, read_onnx_outputs, read_onnx_tensors):
        with suppress(CheckpointFormatError):
            read(root / "model.onnx")
    shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_thousand_hostile_folders(originals):
    """The same without hypothesis: seeded, several faults at once, half of them in settings."""
    values = [None, True, -1, 0, 2**63, 1e308, "", "x", "\ud800", "../x", [], {}, [[]], "a" * 5000, 10**400]
    for seed in range(5000):
        chosen = random.Random(seed)
        folder = originals[chosen.choice(NAMES)]
        kept = {}
        for _ in range(chosen.randint(1, 3)):
            files = (
                settings_files(folder)
                if chosen.random() < 0.5
                else [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
            )
            path = folder / chosen.choice(files)
            kept.setdefault(path, path.read_bytes())
            content = bytearray(path.read_bytes())
            if path.suffix == ".json" and chosen.random() < 0.7 and content:
                try:
                    value = json.loads(content)
                except ValueError:
                    continue
                where = chosen.choice(list(paths_in(value)))
                folders.write_json(path, put(value, where, chosen.choice(values)))
                continue
            for _ in range(chosen.randint(1, 8)):
                if content:
                    content[chosen.randrange(min(len(content), 5000))] = chosen.randrange(256)
            path.write_bytes(content[: chosen.randint(0, len(content))] if chosen.random() < 0.2 else content)
        try:
            attempt(folder)
        finally:
            for path, content in kept.items():
                path.write_bytes(content)
