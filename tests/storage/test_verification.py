"""Every flipped bit is found, every damaged file has a typed answer, and what is sound can be recovered."""

import hashlib
import json
import shutil
import struct

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st
from small_stores import DIM, IDENTITY, content, embeddings_of, fill

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.projection import Projection
from rank_rerank.errors import RankRerankError, StoreError, StoreFormatError, StoreNotFoundError
from rank_rerank.storage import array_file, manifest
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.key_index import KeyIndex
from rank_rerank.storage.store_repair import repair_store


def store_of_every_kind_of_file(folder):
    """Two segments, one with deletions, and a projection."""
    matrix = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0][:, :8].astype(np.float32)
    compression = Compression("int8", projection=Projection(DIM, 8, np.ascontiguousarray(matrix)))
    store = EmbeddingStore.create(folder, IDENTITY, compression)
    store.add([f"d{number}" for number in range(60)], embeddings=embeddings_of(60), metadata=[{"n": 1}] * 60)
    store.add(["e0"], embeddings=embeddings_of(1, seed=2))
    store.delete(["d7", "d9"])
    assert len(store.snapshot.segments) == 2
    return store


def flip_bits(folder, count, seed):
    store_of_every_kind_of_file(folder)
    generator = np.random.default_rng(seed)
    files = sorted(path for path in folder.iterdir() if path.name != "lock")
    assert len(files) == 6
    for _ in range(count):
        path = files[generator.integers(len(files))]
        sound = path.read_bytes()
        damaged = bytearray(sound)
        bit = int(generator.integers(8 * len(sound)))
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        assert not EmbeddingStore.verify_folder(folder).is_sound, (path.name, bit)
        use_or_refuse(folder)
        path.write_bytes(sound)
    assert EmbeddingStore.verify_folder(folder).is_sound


def use_or_refuse(folder):
    """A damaged store either answers or refuses with a typed error."""
    try:
        store = EmbeddingStore.open(folder, read_only=True)
        store.get(list(store))
        list(store.documents())
    except RankRerankError:
        pass


def test_flipped_bits_are_found(tmp_path):
    flip_bits(tmp_path / "s", 150, seed=0)


@pytest.mark.slow
def test_2000_flipped_bits_are_found(tmp_path):
    flip_bits(tmp_path / "s", 2000, seed=1)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -1])
@pytest.mark.parametrize("kind", ["segment", "deleted", "projection", "manifest.json"])
def test_a_cut_file_is_refused_by_name(tmp_path, kind, size):
    store_of_every_kind_of_file(tmp_path / "s")
    path = min((tmp_path / "s").glob(f"{kind}*"))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StoreFormatError, match=path.name.replace(".", r"\.")) as caught:
        EmbeddingStore.open(tmp_path / "s")
    assert "repair" in str(caught.value)
    assert not EmbeddingStore.verify_folder(tmp_path / "s").is_sound


@pytest.mark.parametrize("kind", ["segment", "deleted", "projection"])
def test_a_missing_file_is_refused_by_name(tmp_path, kind):
    store_of_every_kind_of_file(tmp_path / "s")
    path = min((tmp_path / "s").glob(f"{kind}*"))
    path.unlink()
    with pytest.raises(StoreFormatError, match=f"{path.name} is missing"):
        EmbeddingStore.open(tmp_path / "s")


def change_manifest(folder, change):
    """Change a manifest and give it a checksum that fits, as a hostile hand would."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text())["store"]
    change(values)
    checksum = hashlib.sha256(manifest._dump(values).encode()).hexdigest()
    path.write_text(manifest._dump({"sha256": checksum, "store": values}) + "\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(format="something else"),
        lambda values: values.update(version=4),
        lambda values: values.update(version="1"),
        lambda values: values.update(generation=-1),
        lambda values: values.update(dtype="int4"),
        lambda values: values.update(dtype="float32"),
        lambda values: values.update(segments={}),
        lambda values: values.update(surprise=1),
        lambda values: values.pop("identity"),
        lambda values: values["identity"].update(dim=1 << 70),
        lambda values: values["identity"].update(dim=17),
        lambda values: values["segments"][0]["file"].update(name="../../etc/passwd"),
        lambda values: values["segments"][0]["file"].update(name="segment-00000001.safetensors/../x"),
        lambda values: values["segments"][0]["file"].update(num_bytes=1 << 60),
        lambda values: values["segments"][0].update(num_documents=10**12),
        lambda values: values["segments"][0].update(num_deleted=61),
        lambda values: values["segments"][0].update(num_deleted=3),
        lambda values: values.update(projected_dim=4000),
        lambda values: values.update(projected_dim=None),
        lambda values: values.update(pooling={"factor": 0, "method": "hierarchical", "protected_tokens": 1}),
    ],
)
def test_a_hostile_manifest_is_refused(tmp_path, change):
    store_of_every_kind_of_file(tmp_path / "s")
    change_manifest(tmp_path / "s", change)
    with pytest.raises(StoreError):
        EmbeddingStore.open(tmp_path / "s")


@examples(150)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_manifest_are_refused(data):
    with pytest.raises(StoreFormatError):
        manifest.parse(data)


def write_header(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


ARRAY = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xff",
        b'{"a": 1}',
        b"[" * 60_000,
        {"a": ARRAY | {"dtype": "F99"}},
        {"a": ARRAY | {"dtype": ["U8"]}},
        {"a": ARRAY | {"shape": [-4]}},
        {"a": ARRAY | {"shape": [4.0]}},
        {"a": ARRAY | {"shape": [1 << 61, 1 << 61]}},
        {"a": ARRAY | {"shape": [2, 2, 1]}},
        {"a": ARRAY | {"shape": []}},
        {"a": ARRAY | {"data_offsets": [0, 1 << 61]}},
        {"a": ARRAY | {"data_offsets": [1, 5]}},
        {"a": ARRAY | {"data_offsets": [0]}},
        {"a": ARRAY | {"extra": 1}},
        {"a": ARRAY, "b": ARRAY},
        {"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}},
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}',
    ],
)
def test_a_hostile_header_is_refused_before_anything_is_allocated(tmp_path, header):
    path = write_header(tmp_path / "f", header, b"1234")
    with pytest.raises(StoreFormatError, match="damaged"):
        array_file.map_arrays(path, path.stat().st_size)


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 62, (1 << 64) - 1])
def test_a_header_cannot_claim_more_than_the_file_has(tmp_path, claimed):
    (tmp_path / "f").write_bytes(struct.pack("<Q", claimed) + b"{}")
    with pytest.raises(StoreFormatError, match="more bytes"):
        array_file.map_arrays(tmp_path / "f", 10)


@examples(200)
@given(data=st.data())
def test_any_change_of_a_header_is_refused_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "headers"
    if not folder.exists():
        fill(folder)
    path = min(folder.glob("segment*"))
    sound = path.read_bytes()
    (length,) = struct.unpack("<Q", sound[:8])
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        use_or_refuse(folder)
    finally:
        path.write_bytes(sound)


def test_segments_are_safetensors_files(tmp_path):
    torch_reader = pytest.importorskip("safetensors.numpy")
    fill(tmp_path / "s")
    arrays = torch_reader.load_file(min((tmp_path / "s").glob("segment*")))
    assert arrays["vectors"].shape[1] == DIM
    assert bytes(arrays["ids"]) == b"d0d1d2d3d4d5d6"


def test_repair_has_nothing_to_do_in_a_sound_store(store, tmp_path):
    report = repair_store(tmp_path / "store", 1)
    assert (report.actions, report.num_documents, report.num_lost) == ((), 7, 0)
    with pytest.raises(StoreNotFoundError):
        repair_store(tmp_path / "nothing", 1)


def test_repair_takes_the_manifest_from_its_copy(store, tmp_path):
    before = content(tmp_path / "store")
    for damage in (lambda path: path.write_bytes(b"{}"), lambda path: path.unlink()):
        damage(tmp_path / "store" / "manifest.json")
        assert not EmbeddingStore.verify_folder(tmp_path / "store").is_sound
        report = repair_store(tmp_path / "store", 1)
        assert "from its copy" in report.actions[0]
        assert content(tmp_path / "store") == before
        assert EmbeddingStore.verify_folder(tmp_path / "store").is_sound


def test_repair_writes_a_damaged_copy_anew_and_removes_leftovers(store, tmp_path):
    (tmp_path / "store" / "manifest.copy.json").write_bytes(b"{}")
    (tmp_path / "store" / "segment-00000099.safetensors").write_bytes(b"half")
    (tmp_path / "store" / "segment-00000098.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "store" / "notes.txt").write_text("mine")
    report = repair_store(tmp_path / "store", 1)
    assert len(report.actions) == 2
    assert EmbeddingStore.verify_folder(tmp_path / "store").is_sound
    assert not list((tmp_path / "store").glob("segment-0000009*"))
    assert (tmp_path / "store" / "notes.txt").exists()


def test_repair_keeps_what_is_sound(tmp_path):
    store = store_of_every_kind_of_file(tmp_path / "s")
    expected = content(tmp_path / "s")
    big = tmp_path / "s" / store.snapshot.segments[0].name
    sound = big.read_bytes()
    big.write_bytes(sound[:-100])
    report = repair_store(tmp_path / "s", 1)
    assert (report.num_documents, report.num_lost) == (1, 58)
    assert content(tmp_path / "s") == {"e0": expected["e0"]}
    assert (tmp_path / "s" / f"{big.name}.damaged").read_bytes() == sound[:-100]
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound


def test_repair_brings_deleted_documents_back_but_no_older_versions(tmp_path):
    store = fill(tmp_path / "s", 40)
    store.update(["d3"], embeddings=embeddings_of(1, seed=8))
    store.delete(["d4"])
    newest = content(tmp_path / "s")["d3"]
    (file,) = (tmp_path / "s").glob("deleted*")
    file.write_bytes(b"")
    report = repair_store(tmp_path / "s", 1)
    assert "deleted documents are back" in report.actions[0]
    found = content(tmp_path / "s")
    assert found["d3"] == newest
    assert len(found) == 40
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound


def test_repair_gives_up_without_manifest_or_projection(tmp_path):
    store_of_every_kind_of_file(tmp_path / "s")
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    min((tmp_path / "s").glob("projection*")).write_bytes(b"")
    with pytest.raises(StoreFormatError, match="projection"):
        repair_store(tmp_path / "s", 1)
    for name in ("manifest.json", "manifest.copy.json"):
        (tmp_path / "t" / name).write_bytes(b"")
    with pytest.raises(StoreFormatError, match=r"manifest\.json"):
        repair_store(tmp_path / "t", 1)


@pytest.mark.parametrize("array", ["metadata", "ids"])
def test_a_damaged_value_is_met_with_a_typed_error(tmp_path, array):
    store = store_of_every_kind_of_file(tmp_path / "s")
    for check_reads in (True, False):
        store = EmbeddingStore.open(store.folder, check_reads=check_reads)
        segment = store.snapshot.segments[0]
        segment.arrays[array] = np.full_like(segment.arrays[array], 0xFF)
        with pytest.raises(StoreFormatError, match=r"checksum" if check_reads else f"{array} of row"):
            list(store.documents())


def test_a_damaged_index_finds_nothing_false_and_crashes_nothing():
    refused = 0
    generator = np.random.default_rng(0)
    for _ in range(300):
        keys = np.sort(generator.integers(0, 50, 40)).astype(np.uint64)
        keys[generator.integers(40, size=12)] ^= np.uint64(1) << np.uint64(generator.integers(7))
        try:
            places, rows = KeyIndex(keys, np.arange(40, dtype=np.int32)).find(
                generator.permutation(50).astype(np.uint64)
            )
        except StoreFormatError:
            refused += 1
            continue
        assert len(places) == len(rows)
        assert (rows < 40).all()
    assert refused > 0
