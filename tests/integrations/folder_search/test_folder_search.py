import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[search]"')
pytest.importorskip("Stemmer", reason='needs PyStemmer: pip install ".[search]"')

from rank_rerank import CascadeReranker, CascadeStage, Document, TokenEncoder
from rank_rerank.errors import EmptyQueryError, FileFormatError, InvalidArgumentError
from rank_rerank.integrations.folder_search import search_place
from rank_rerank.integrations.folder_search.folder_search import FolderQuery, search_folder
from rank_rerank.integrations.folder_search.passage_index import open_index
from rank_rerank.integrations.folder_search.passages import SEPARATOR
from rank_rerank.integrations.folder_search.text_files import Skipped

QUERY = "Which city is the capital of France?"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "fruit.txt").write_text("Bananas are yellow.\n\nApples are red or green.\n")
    (folder / "sub" / "cities.md").write_text(
        "# Cities\n\n## Paris\n\nIt is the seat of the French government.\n\n## Bern\n\nIt has bears.\n"
    )
    (folder / "page.html").write_text("<h1>Capitals</h1><p>Berlin is the capital of Germany.</p>")
    (folder / "code.py").write_text("def capital_of(country):\n    return CAPITALS[country]\n")
    (folder / ".gitignore").write_text("ignored.txt\n")
    (folder / "ignored.txt").write_text("Paris is the capital of France.")
    return folder


@pytest.fixture
def encoded(monkeypatch):
    """Every text that is encoded."""
    texts = []
    encode = TokenEncoder.encode_documents

    def count(self, documents):
        texts.extend(documents)
        return encode(self, documents)

    monkeypatch.setattr(TokenEncoder, "encode_documents", count)
    return texts


def test_the_passage_that_answers_comes_first_with_its_place(reranker, folder):
    found = search_folder(reranker, folder, FolderQuery(QUERY, top_k=2, spans=True))
    best = found.hits[0]
    text = (folder / best.path).read_text()
    assert (best.path, best.line, best.headings) == ("sub/cities.md", 3, f"Cities{SEPARATOR}Paris")
    assert text[best.start : best.end] == best.text
    assert best.text.startswith("## Paris\n\nIt is the seat")
    assert all(best.text[word.start : word.end].strip() for word in best.matches)
    assert (len(found), found.num_files, found.num_read) == (2, 4, found.num_passages)
    assert found.skipped.ignored == 1
    json.dumps(best.to_dict())


def test_the_scores_of_bm25_are_blended_as_in_rerank(reranker, folder):
    found = search_folder(reranker, folder, FolderQuery("Which city is the capital?"))
    index = open_index(folder, folder / ".rank-rerank" / "index", Skipped())
    numbers, scores = index.find("Which city is the capital?", 100)
    assert (np.diff(scores) <= 0).all()
    assert scores[0] > scores[-1]
    documents = [Document(index[number].passage.read_text) for number in numbers]
    scored = [replace(each, score=score) for each, score in zip(documents, scores.tolist(), strict=True)]
    ranking = reranker.rerank("Which city is the capital?", scored)
    assert ranking.is_blended
    starts = [(index[numbers[hit.index]].path, index[numbers[hit.index]].passage.start) for hit in ranking]
    assert [(hit.path, hit.start) for hit in found] == starts


def test_the_second_search_encodes_and_indexes_nothing(reranker, encoded, folder, monkeypatch):
    first = search_folder(reranker, folder, FolderQuery(QUERY))
    assert len(encoded) == first.num_read > 0
    monkeypatch.setattr("rank_rerank.integrations.folder_search.passage_index._build", None)
    again = search_folder(reranker, folder, FolderQuery(QUERY))
    assert again.hits == first.hits
    assert len(encoded) == first.num_read
    other = search_folder(reranker, folder, FolderQuery("yellow fruit"))
    assert other.hits[0].path == "fruit.txt"
    assert len(encoded) == first.num_read


def test_a_changed_file_is_read_again_and_nothing_else_is_encoded(reranker, encoded, folder):
    before = search_folder(reranker, folder, FolderQuery(QUERY)).num_read
    (folder / "new.txt").write_text("Paris, the capital of France, lies on the Seine.")
    (folder / "fruit.txt").unlink()
    found = search_folder(reranker, folder, FolderQuery(QUERY))
    assert found.hits[0].path == "new.txt"
    assert all(hit.path != "fruit.txt" for hit in found)
    assert len(encoded) == before + 1


def test_the_index_lies_in_the_folder_where_git_and_the_search_ignore_it(reranker, folder):
    search_folder(reranker, folder, FolderQuery(QUERY))
    place = folder / ".rank-rerank"
    assert (place / ".gitignore").read_text() == "*\n"
    assert {each.name.partition("-")[0] for each in place.iterdir()} == {".gitignore", "index", "vectors"}
    found = search_folder(reranker, folder, FolderQuery("bm25 vectors index"))
    assert all(not hit.path.startswith(".") for hit in found)


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(reranker, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(search_place, "cache_folder", lambda: tmp_path / "cache" / "kernels")
    is_readable = lambda path, mode: mode != os.W_OK or not str(path).startswith(str(folder))  # noqa: E731
    monkeypatch.setattr(search_place.os, "access", is_readable)
    found = search_folder(reranker, folder, FolderQuery(QUERY))
    assert found.hits[0].path == "sub/cities.md"
    assert not (folder / ".rank-rerank").exists()
    assert len(list((tmp_path / "cache" / "search").iterdir())) == 1


def test_a_place_may_be_named(reranker, folder, tmp_path):
    search_folder(reranker, folder, FolderQuery(QUERY, store=tmp_path / "place"))
    assert (tmp_path / "place" / "index" / "index.json").exists()
    assert not (folder / ".rank-rerank").exists()


@pytest.mark.parametrize("damage", ["index.json", "passages.npy", "passages.bin", "bm25"])
def test_a_damaged_index_is_made_again(reranker, folder, damage):
    first = search_folder(reranker, folder, FolderQuery(QUERY))
    place = folder / ".rank-rerank" / "index" / damage
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.write_bytes(place.read_bytes()[:10])
    assert search_folder(reranker, folder, FolderQuery(QUERY)).hits == first.hits


def test_a_damaged_store_is_not_used(reranker, folder):
    first = search_folder(reranker, folder, FolderQuery(QUERY))
    (vectors,) = (folder / ".rank-rerank").glob("vectors-*")
    for file in vectors.iterdir():
        file.write_bytes(b"")
    again = search_folder(reranker, folder, FolderQuery(QUERY))
    assert [hit.path for hit in again] == [hit.path for hit in first]


def test_vectors_of_texts_that_are_gone_are_dropped(reranker, folder, monkeypatch):
    monkeypatch.setattr("rank_rerank.integrations.folder_search.folder_search.CANDIDATES", 0)
    for number in range(12):
        (folder / "fruit.txt").write_text(f"Banana number {number} is yellow.")
        search_folder(reranker, folder, FolderQuery("yellow"))
    (vectors,) = (folder / ".rank-rerank").glob("vectors-*")
    from rank_rerank import EmbeddingStore

    index = open_index(folder, folder / ".rank-rerank" / "index", Skipped())
    assert len(EmbeddingStore.open(vectors)) <= 2 * len(index) + 1


def test_bm25_chooses_what_is_read_where_there_is_much(reranker, folder):
    for number in range(30):
        (folder / f"note{number}.txt").write_text(f"A note about gardens, number {number}.")
    found = search_folder(reranker, folder, FolderQuery("gardens", candidates=5, top_k=20))
    assert found.num_read == len(found) == 5
    assert all("gardens" in hit.text for hit in found)
    assert len(search_folder(reranker, folder, FolderQuery("xyzzy", candidates=5))) == 0


def test_any_reranker_searches(reranker, folder):
    cascade = CascadeReranker(reranker, [CascadeStage(reranker, keep=2)])
    found = search_folder(cascade, folder, FolderQuery(QUERY, top_k=1, spans=True))
    assert found.hits[0].path == "sub/cities.md"
    assert found.hits[0].spans is None


def test_empty_folders_and_bad_queries(reranker, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(search_folder(reranker, tmp_path / "empty", FolderQuery(QUERY))) == 0
    with pytest.raises(EmptyQueryError):
        search_folder(reranker, folder, FolderQuery("  "))
    with pytest.raises(FileFormatError, match="is not a folder"):
        search_folder(reranker, folder / "missing", FolderQuery(QUERY))
    with pytest.raises(InvalidArgumentError, match="candidates"):
        FolderQuery(QUERY, candidates=0)
    with pytest.raises(InvalidArgumentError, match="top_k"):
        FolderQuery(QUERY, top_k=0)
