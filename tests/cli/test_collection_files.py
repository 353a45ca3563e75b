"""Collections in the layouts of the field: each is read right, or refused with the cure for its own fault."""

import bz2
import contextlib
import gc
import gzip
import io
import json
import lzma
import sys

import pytest

from rank_rerank.cli.candidate_files import FileFormat, count_documents, read_candidates
from rank_rerank.cli.records import Columns, read_columns
from rank_rerank.documents.text_bytes import utf_16_lines
from rank_rerank.errors import FileFormatError

PASSAGES = ['The "capital" is Paris.', '"Quoted at the beginning', "Bananas, yellow; ripe"]
MS_MARCO = "".join(f"{number}\t{text}\n" for number, text in enumerate(PASSAGES, start=7))
BEIR = "".join(
    json.dumps({"_id": f"d{number}", "title": "T", "text": text, "metadata": {}}) + "\n"
    for number, text in enumerate(PASSAGES)
)
ID_TEXT = FileFormat(None, Columns(("id", "text")))


def read(path, file_format=None):
    candidates = read_candidates([str(path)], file_format)
    return [(item.document.id, item.document.text) for item in candidates], [item.line for item in candidates]


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_ms_marco_and_colbert_passages(tmp_path):
    expected = [(str(number), text) for number, text in enumerate(PASSAGES, start=7)]
    for content in (MS_MARCO, MS_MARCO.replace("\n", "\r\n"), "\ufeff" + MS_MARCO, MS_MARCO + "\n", MS_MARCO.strip()):
        assert read(write(tmp_path, "collection.tsv", content), ID_TEXT) == (expected, [1, 2, 3])
    titled = write(tmp_path, "colbert.tsv", "0\tthe text\tthe title\n")
    documents = read_candidates([str(titled)], FileFormat(None, Columns(("id", "text", "title"))))
    assert documents[0].document.text == "the title the text"


def test_a_table_without_a_header_names_its_cure(tmp_path):
    path = write(tmp_path, "collection.tsv", MS_MARCO)
    with pytest.raises(FileFormatError, match=r"looks like a document: name the columns with --columns id,text$"):
        read(path)
    path = write(tmp_path, "docs.tsv", "D1\turl\ttitle\tbody\n1\t2\t3\t4\n")
    with pytest.raises(FileFormatError, match="--text-column"):
        read(path)


def test_beir(tmp_path):
    expected = [(f"d{number}", f"T {text}") for number, text in enumerate(PASSAGES)]
    for content in (BEIR, BEIR.replace("\n", "\r\n"), "\ufeff" + BEIR, BEIR + "\n\n"):
        assert read(write(tmp_path, "corpus.jsonl", content)) == (expected, [1, 2, 3])


@pytest.mark.parametrize(("name", "content", "file_format"), [("c.tsv", MS_MARCO, ID_TEXT), ("c.jsonl", BEIR, None)])
def test_packed_files_are_those_unpacked(tmp_path, name, content, file_format):
    plain = read(write(tmp_path, name, content), file_format)
    packed = gzip.compress(content.encode(), mtime=0)
    assert read(write(tmp_path, f"{name}.gz", packed), file_format) == plain
    # what a file is, its first bytes say
    assert read(write(tmp_path, name, packed), file_format) == plain
    for damaged in (packed[:-9], packed[:20], packed[:30] + b"\0\0" + packed[32:]):
        with pytest.raises(FileFormatError, match="damaged gzip"):
            read(write(tmp_path, f"{name}.gz", damaged), file_format)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_with_a_byte_order_mark(tmp_path, encoding):
    text = "id\ttext\n1\tDie Hauptstadt heißt Paris\r\n2\t東京\n"
    expected = [("1", "Die Hauptstadt heißt Paris"), ("2", "東京")]
    assert read(write(tmp_path, "c.tsv", text.encode(encoding))) == (expected, [2, 3])
    assert read(write(tmp_path, "c.tsv.gz", gzip.compress(text.encode(encoding), mtime=0))) == (expected, [2, 3])


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_a_table_with_another_delimiter(tmp_path, delimiter):
    row = delimiter.join(["id", "text", "price"]) + "\n" + delimiter.join(["a", '"x, y; z"', "1"]) + "\n"
    assert read(write(tmp_path, "c.csv", row)) == ([("a", "x, y; z")], [2])


def test_columns_and_keys_of_another_name(tmp_path):
    named = FileFormat(None, read_columns(None, "passage", "pid"))
    expected = ([("7", "Paris")], [2])
    assert read(write(tmp_path, "c.csv", "pid,passage,text\n7,Paris,other\n"), named) == expected
    path = write(tmp_path, "c.jsonl", '{"pid": 7, "passage": "Paris", "id": "lost?"}\n')
    assert read(path, named) == ([(7, "Paris")], [1])
    with pytest.raises(FileFormatError, match="--id-column"):
        read(write(tmp_path, "c.jsonl", '{"passage": "Paris"}\n'), named)
    with pytest.raises(FileFormatError, match="--text-column"):
        read(write(tmp_path, "c.csv", "pid,body\n7,Paris\n"), named)
    for key in ("content", "contents", "page_content"):
        assert read(write(tmp_path, "c.jsonl", json.dumps({key: "Paris"})))[0] == [(None, "Paris")]
        assert read(write(tmp_path, "c.csv", f"{key}\nParis\n"))[0] == [(None, "Paris")]


@pytest.mark.parametrize(("names", "text"), [("id,id", None), ("id,", None), ("id,body", None), ("id,text", "body")])
def test_columns_that_cannot_be_are_refused(names, text):
    with pytest.raises(FileFormatError, match="--columns must name"):
        read_columns(names, text, None)


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"PK\x03\x04...", "unzip -p"),
        (bz2.compress(b"a\n"), "bzip2 -dk"),
        (lzma.compress(b"a\n"), "xz -dk"),
        (b"\x28\xb5\x2f\xfd....", "zstd -d"),
        (b"PAR1....", "read_parquet"),
        (b"%PDF-1.7", "pdftotext"),
        ("a\n".encode("utf-32"), "iconv -f utf-32"),
        ("ab\n".encode("utf-16-le"), "iconv -f utf-16le"),
        ("caf\xe9\n".encode("latin1"), "iconv -f latin1"),
        (gzip.compress(b"PAR1....", mtime=0), "read_parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.tsv", "c"])
def test_what_is_no_text_is_refused_with_its_own_cure(tmp_path, name, content, cure):
    path = write(tmp_path, name, content)
    with pytest.raises(FileFormatError, match=cure):
        read(path)


@pytest.mark.parametrize("name", ["c.txt", "c.json", "c.jsonl", "c.ndjson", "c.csv", "c.tsv", "c", "c.jsonl.gz"])
def test_a_file_in_utf_16_that_is_refused_early_says_nothing_else(tmp_path, name):
    """Lines that were not read to their end are dropped after their file is closed, which is no fault of anybody's."""
    content = ('[{"text": NaN}\n' + "more\n" * 5000).encode("utf-16")
    path = write(tmp_path, name, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    errors = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", errors.append)
        for file_format in (None, FileFormat("jsonl"), FileFormat("csv", Columns(("text",)))):
            with contextlib.suppress(FileFormatError):
                read(path, file_format)
        gc.collect()
    assert not errors
    with path.open("rb") as file:
        lines = utf_16_lines(io.BytesIO(content) if name.endswith(".gz") else file, name)
        assert next(lines) == '[{"text": NaN}\n'
    lines.close()


def test_a_byte_too_many_in_utf_16(tmp_path):
    with pytest.raises(FileFormatError, match="line 2 is not UTF-16"):
        read(write(tmp_path, "c.txt", "ab\n".encode("utf-16") + b"\x00"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"text": "a", "n": NaN}', "holds NaN or Infinity.*Write null"),
        ('{"text": "a", "n": -Infinity}', "holds NaN or Infinity"),
        ('{"text": "a", "text": "b"}', "has a key twice"),
        ('[{"text": "a"}]', r"is not a JSON object but a list.*jq -c '\.\[\]'"),
        ('[\n{"text": "a"}\n]', "begins JSON over several lines"),
        ("'text'", "is not valid JSON"),
    ],
)
def test_json_that_another_reader_would_read_otherwise(tmp_path, content, problem):
    with pytest.raises(FileFormatError, match=f"line 1 {problem}"):
        read(write(tmp_path, "c.jsonl", content))


def test_documents_are_counted_without_being_read(tmp_path):
    paths = [
        write(tmp_path, "a.tsv", MS_MARCO + "\n"),
        write(tmp_path, "b.tsv.gz", gzip.compress(MS_MARCO.encode(), mtime=0)),
        write(tmp_path, "c.tsv", "7\tx\n"),
    ]
    assert count_documents([str(path) for path in paths], ID_TEXT) == 7
    assert count_documents([str(write(tmp_path, "d.jsonl", BEIR + "\n"))]) == 3
    assert count_documents(["-"]) is None
    assert count_documents([str(tmp_path)]) is None


def test_the_command_reads_a_collection_without_a_header(hits, tmp_path):
    path = write(tmp_path, "collection.tsv.gz", gzip.compress(MS_MARCO.encode(), mtime=0))
    found = hits("rerank", "a capital", str(path), "--columns", "id,text", "--top-k", "1")
    assert (found[0]["id"], found[0]["text"], found[0]["line"]) == ("7", PASSAGES[0], 1)


def test_standard_input_may_be_packed(hits):
    assert hits("rerank", "a capital", stdin=gzip.compress(b"Paris\nBerlin\n\n", mtime=0))[0]["file"] == "-"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"id\ttext\n1\tone\n", "id,text"),
        (b"_id\ttitle\ttext\n1\tT\tone\n", "id,title,text"),
        (b'"pid"\t"passage"\n1\tone\n', "pid,text"),
        (b"ID\tText\n1\tone\n", "id,text"),
        (b"id;text\n1;one\n", "id,text"),
    ],
)
def test_a_line_that_names_the_columns_is_no_document(run, tmp_path, content, columns):
    path = tmp_path / "c.tsv"
    path.write_bytes(content)
    code, out, err = run("rerank", "one", str(path), "--columns", columns)
    assert (code, out) == (2, "")
    assert "line 1 names the columns itself. Leave --columns out" in err


def test_a_first_document_of_a_single_usual_word_is_one(hits, tmp_path):
    path = tmp_path / "c.tsv"
    path.write_bytes(b"1\ttext\n2\tone\n")
    assert len(hits("rerank", "one", str(path), "--columns", "id,text")) == 2


def test_options_that_a_format_cannot_follow_are_refused(run, tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"text": "one"}\n')
    code, _, err = run("rerank", "one", str(path), "--columns", "id,text")
    assert code == 2
    assert "is read as JSON lines, which name their own keys. Leave --columns out" in err
    code, _, err = run("rerank", "one", str(path), "--text-column", "body")
    assert code == 2
    assert "Name another with --text-column" in err
