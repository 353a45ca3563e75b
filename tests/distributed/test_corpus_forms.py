"""Files of a corpus are read by what their bytes say; what is no such file is refused with the cure for that."""

import gzip

import pytest

from rank_rerank.distributed import Columns
from rank_rerank.distributed.corpus_items import corpus_items
from rank_rerank.distributed.items import Rejected
from rank_rerank.errors import FileFormatError

TABLE = "id\ttext\n1\tone\n2\ttwo\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", TABLE.encode("utf-16")),
        ("a.tsv", b"\xfe\xff" + TABLE.encode("utf-16-be")),
        ("a.tsv", b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode()),
        ("a.tsv", gzip.compress(TABLE.encode(), mtime=0)),
        ("a.tsv.gz", TABLE.encode()),
        ("a.tsv.gz", gzip.compress(TABLE.encode("utf-16"), mtime=0)),
        ("a.csv", TABLE.replace("\t", ";").encode()),
        ("a.csv", TABLE.encode()),
        ("a.csv", TABLE.replace("\t", "|").encode()),
        ("a.jsonl", '{"id": "1", "text": "one"}\n{"id": "2", "text": "two"}\n'.encode("utf-16")),
        ("a.jsonl", gzip.compress(b'{"_id": 1, "text": "one"}\n\n{"_id": 2, "text": "two"}', mtime=0)),
    ],
)
def test_a_corpus_is_read_by_its_bytes(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert [(item.id, item.text) for item in corpus_items([path], Columns())] == [("1", "one"), ("2", "two")]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b"id,text\r1,one\r2,two\r", "carriage returns"),
        ("a.jsonl", b'{"text": "one"}\r{"text": "two"}', "carriage returns"),
        ("a.csv", b"id,text,text\n1,a,b\n", "names a column twice"),
        ("a.tsv", b'0\t"a first document\n1\tanother\n', "the first line, which names the columns, is not valid"),
        ("a.jsonl", b"PK\x03\x04 and so on", "a zip archive"),
        ("a.jsonl.gz", b"\x28\xb5\x2f\xfd and so on", "compressed by zstd"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "one"}\n' * 50, mtime=0)[:-9], "cannot be read after line"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 50, "cannot be read after line 0"),
        ("a.jsonl", '{"text": "one"}\n'.encode("utf-16")[:-1], "is not UTF-16"),
    ],
)
def test_a_file_of_another_kind_has_its_own_cure(tmp_path, name, content, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=problem):
        list(corpus_items([path], Columns()))


def test_a_quotation_mark_that_nothing_closes_makes_no_document_of_several(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b'id\ttext\n0\t"opened\n1\ttwo\n2\t"quoted" and more\n3\tend\n')
    opened, two, quoted, end = corpus_items([path], Columns())
    for refused in (opened, quoted):
        assert isinstance(refused, Rejected)
        assert "the record is not valid" in refused.reason
    assert [(kept.id, kept.text) for kept in (two, end)] == [("1", "two"), ("3", "end")]


def test_a_key_that_stands_twice_and_a_table_without_names_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "text": "b"}\n')
    (tmp_path / "b.tsv").write_bytes(b"1\tone\n2\ttwo\n")
    twice, nameless = corpus_items([tmp_path / "a.jsonl", tmp_path / "b.tsv"], Columns())
    assert "a key twice" in twice.reason
    assert "write the columns' names above it" in nameless.reason
