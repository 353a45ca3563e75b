"""No flipped bit is read in silence, and what is sound beside it is kept."""

import numpy as np
import pytest
from checked_stores import KINDS, QUERY, everything, make, rewrite
from small_stores import content, embeddings_of, fill, unit_rows

from rank_rerank.errors import RankRerankError, StoreFormatError, StoreWriteError, UnknownIdError
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage import store_repair
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.row_checksums import PARTS, row_checksums
from rank_rerank.storage.store_repair import repair_store


def flips(folder, dtype, options, count, **reading):
    """Flip single bits, and count those that were refused, that changed nothing, and that changed an answer."""
    store = make(folder, dtype, options)
    expected, generator = everything(folder), np.random.default_rng(3)
    files = [folder / entry.name for entry in store.snapshot.manifest.files()]
    sizes = np.array([path.stat().st_size for path in files])
    found = {"refused": 0, "same": 0, "other": 0}
    for _ in range(count):
        path = files[generator.choice(len(files), p=sizes / sizes.sum())]
        sound = path.read_bytes()
        bit = int(generator.integers(8 * len(sound)))
        path.write_bytes(sound[: bit // 8] + bytes([sound[bit // 8] ^ 1 << bit % 8]) + sound[bit // 8 + 1 :])
        answers = everything(folder, **reading)
        is_refused = [isinstance(each, RankRerankError) for each in answers]
        if len(answers) == len(expected):
            pairs = zip(answers, expected, is_refused, strict=True)
            differ = any(answer != right for answer, right, refused in pairs if not refused)
            found["other"] += differ
            found["same"] += not differ and not any(is_refused)
        found["refused"] += any(is_refused)
        path.write_bytes(sound)
    assert [not isinstance(each, Exception) for each in everything(folder)] == [True] * len(expected)
    return found


@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_no_flipped_bit_is_read_in_silence(tmp_path, dtype, options):
    found = flips(tmp_path / "s", dtype, options, 60)
    assert found["other"] == 0
    assert found["refused"] > 30


def test_the_flag_leaves_the_comparison_out(tmp_path):
    assert flips(tmp_path / "s", "float32", {}, 40, check_reads=False)["other"] > 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_700_flipped_bits_are_not_read_in_silence(tmp_path, dtype, options):
    assert flips(tmp_path / "s", dtype, options, 700)["other"] == 0


def test_a_sound_document_beside_a_damaged_one_is_read(tmp_path):
    store = fill(tmp_path / "s", 40)
    path = tmp_path / "s" / store.snapshot.segments[0].name
    row = int(np.argmax([len(each) for each in store.get([f"d{number}" for number in range(40)])]))
    place = path.read_bytes().index(store.get([f"d{row}"])[0].tobytes())
    damaged = bytearray(path.read_bytes())
    damaged[place + 3] ^= 16
    path.write_bytes(damaged)
    reader = EmbeddingStore.open(tmp_path / "s", read_only=True)
    neighbors = [f"d{row - 1}", f"d{row + 1}"]
    for read in (reader.get, lambda ids: score_stored(QUERY, reader.select(ids))):
        assert len(read(neighbors)) == 2
        for _ in range(2):  # it is not taken for checked
            with pytest.raises(StoreFormatError, match=rf"row {row} do not fit.*repair"):
                read([*neighbors, f"d{row}"])


def test_an_id_that_is_not_there_was_looked_for_in_sound_keys(tmp_path):
    store = fill(tmp_path / "s", 40)
    path = tmp_path / "s" / store.snapshot.segments[0].name
    keys = store.snapshot.segments[0].arrays["id_keys"].tobytes()
    sound = path.read_bytes()
    with pytest.raises(UnknownIdError):
        store.select(["unknown"])
    place = sound.index(keys) + 8 * 20 + 7  # the highest byte of the key in the middle
    path.write_bytes(sound[:place] + bytes([sound[place] ^ 128]) + sound[place + 1 :])
    with pytest.raises(StoreFormatError, match="id_keys"):
        EmbeddingStore.open(tmp_path / "s").select(["unknown"])
    with pytest.raises(StoreFormatError, match="id_keys"):
        EmbeddingStore.open(tmp_path / "s").add(["new"], embeddings=embeddings_of(1))


def test_damage_does_not_become_sound_by_being_merged(tmp_path):
    store = fill(tmp_path / "s", 6)
    vectors = store.get(["d3"])[0].tobytes()
    path = tmp_path / "s" / store.snapshot.segments[0].name
    sound = path.read_bytes()
    place = sound.index(vectors)
    path.write_bytes(sound[:place] + b"\x01" + sound[place + 1 :])
    store = EmbeddingStore.open(tmp_path / "s")
    store.add([f"e{number}" for number in range(6)], embeddings=embeddings_of(6, seed=1))
    store.compact()
    assert len(store.snapshot.segments) == 1
    assert store.snapshot.segments[0].name != path.name
    assert not store.verify().is_sound
    with pytest.raises(StoreFormatError, match="row 3"):
        store.get(["d3"])
    with pytest.raises(StoreFormatError, match="row 3"):
        EmbeddingStore.open(tmp_path / "s").get(["d3"])
    report = repair_store(tmp_path / "s", 1)
    assert (report.num_documents, report.num_lost) == (11, 1)
    assert "d3" not in content(tmp_path / "s")
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound


@pytest.mark.parametrize(("dtype", "options"), KINDS)
def test_repair_keeps_every_document_that_fits_its_checksums(tmp_path, dtype, options):
    store = make(tmp_path / "s", dtype, options)
    expected = content(tmp_path / "s")
    segment = store.snapshot.segments[0]
    path = tmp_path / "s" / segment.name
    sound, generator = path.read_bytes(), np.random.default_rng(1)
    header = 8 + int.from_bytes(sound[:8], "little")
    for _ in range(12):
        damaged = bytearray(sound)
        damaged[generator.integers(header, len(sound))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        (tmp_path / "t").mkdir()
        for each in (tmp_path / "s").iterdir():
            (tmp_path / "t" / each.name).write_bytes(each.read_bytes())
        report = repair_store(tmp_path / "t", 1)
        found = content(tmp_path / "t")
        assert found.items() <= expected.items()
        assert report.num_lost == len(expected) - len(found)
        # a flipped bit in offsets may take two documents; if they do not ascend any more, all of that segment
        assert report.num_lost <= 2 or "offsets" in report.actions[0] or "checksum" in report.actions[0]
        assert EmbeddingStore.verify_folder(tmp_path / "t").is_sound
        for each in (tmp_path / "t").iterdir():
            each.unlink()
        (tmp_path / "t").rmdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.update(truncated=arrays["truncated"].reshape(-1, 1)),
        lambda arrays: arrays.update(truncated=np.full_like(arrays["truncated"], 2)),
        lambda arrays: arrays.update(tokens_offsets=arrays["tokens_offsets"][::-1].copy()),
        lambda arrays: arrays["tokens_offsets"].__setitem__(3, 1 << 40),
        lambda arrays: arrays["tokens_offsets"].__setitem__(3, -5),
        lambda arrays: arrays["ids_offsets"].__setitem__(3, 1 << 40),
        lambda arrays: arrays["metadata_offsets"].__setitem__(3, -1),
        lambda arrays: arrays.update(ids=arrays["ids"][:-1]),
        lambda arrays: arrays["id_rows"].__setitem__(0, 1 << 20),
        lambda arrays: arrays["id_rows"].__setitem__(0, arrays["id_rows"][1]),
        lambda arrays: arrays.update(id_keys=arrays["id_keys"][::-1].copy()),
        lambda arrays: arrays["vectors"].__setitem__((0, 0), np.nan),
        lambda arrays: arrays.update(vectors=arrays["vectors"][:-1]),
        lambda arrays: arrays["checksums"].__setitem__((2, 0), 7),
        lambda arrays: arrays.update(checksums=arrays["checksums"][:, :3].copy()),
        lambda arrays: arrays.pop("checksums"),
    ],
)
def test_what_a_check_refuses_is_found_by_verify_and_dropped_by_repair(tmp_path, damage):
    """Files whose checksums fit, as an earlier program or a hostile hand may have written them."""
    store = fill(tmp_path / "s", 40)
    store.add(["later"], embeddings=embeddings_of(1, seed=2))
    expected = content(tmp_path / "s")["later"]
    rewrite(tmp_path / "s", store, 0, damage)
    assert not EmbeddingStore.verify_folder(tmp_path / "s").is_sound
    report = repair_store(tmp_path / "s", 1)
    found = content(tmp_path / "s")
    assert found["later"] == expected
    assert len(found) + report.num_lost == 41
    assert EmbeddingStore.verify_folder(tmp_path / "s").is_sound
    EmbeddingStore.open(tmp_path / "s").add(["newest"], embeddings=embeddings_of(1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.update(truncated=np.zeros((1, 1), np.uint8)),
        lambda arrays: arrays.update(tokens_offsets=np.array([0, 1 << 40])),
        lambda arrays: arrays.update(metadata=np.frombuffer(b"[", np.uint8), metadata_offsets=np.array([0, 1])),
        lambda arrays: arrays.pop("vectors"),
        lambda arrays: arrays.update(vectors=arrays["vectors"].astype(np.float16)),
    ],
)
def test_a_segment_is_checked_before_the_manifest_names_it(store, tmp_path, monkeypatch, damage):
    compress = EmbeddingStore._compress

    def damaged(self, documents):
        segment = compress(self, documents)
        damage(segment.arrays)
        return segment

    before = content(tmp_path / "store")
    files = sorted(path.name for path in (tmp_path / "store").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingStore, "_compress", damaged)
        with pytest.raises(StoreFormatError, match="what is added is damaged"):
            store.add(["new"], embeddings=[unit_rows(np.random.default_rng(0), 3)])
    assert content(tmp_path / "store") == before
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == files
    store.add(["new"], embeddings=embeddings_of(1))


def test_what_cannot_be_read_back_is_not_named(store, tmp_path, monkeypatch):
    from rank_rerank.storage import store_writing

    real = store_writing.write_segment
    before = content(tmp_path / "store")
    monkeypatch.setattr(store_writing, "write_segment", lambda *each: write_and_break(real, *each))
    with pytest.raises(StoreWriteError, match="cannot be read back"):
        store.add(["new"], embeddings=embeddings_of(1))
    assert content(tmp_path / "store") == before
    assert EmbeddingStore.verify_folder(tmp_path / "store").is_sound


def write_and_break(real, folder, name, *rest):
    entry = real(folder, name, *rest)
    (folder / name).write_bytes(b"something else")
    return entry


def test_repair_without_hard_links_puts_the_file_aside_too(tmp_path, monkeypatch):
    store = fill(tmp_path / "s", 40)
    path = tmp_path / "s" / store.snapshot.segments[0].name
    path.write_bytes(b"nothing of it")

    def refuse(*_):
        raise OSError(1, "no links here")

    monkeypatch.setattr(store_repair.Path, "hardlink_to", refuse)
    assert repair_store(tmp_path / "s", 1).num_lost == 40
    assert (tmp_path / "s" / f"{path.name}.damaged").read_bytes() == b"nothing of it"


def test_checksums_tell_where_one_value_ends_and_the_next_begins(tmp_path):
    store = fill(tmp_path / "s", 3)
    arrays = dict(store.snapshot.segments[0].arrays)
    arrays["texts"], arrays["metadata"] = np.frombuffer(b"{1}", np.uint8), np.frombuffer(b"", np.uint8)
    zeros = np.zeros(4, np.int64)
    arrays["texts_offsets"], arrays["metadata_offsets"] = np.array([0, 3, 3, 3]), zeros
    text = row_checksums(arrays, np.array([0]), "texts")
    arrays |= {"texts": arrays["metadata"], "metadata": arrays["texts"]}
    arrays |= {"texts_offsets": zeros, "metadata_offsets": np.array([0, 3, 3, 3])}
    assert row_checksums(arrays, np.array([0]), "texts") != text
    assert len(PARTS) == arrays["checksums"].shape[1]
