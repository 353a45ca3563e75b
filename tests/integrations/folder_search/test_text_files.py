import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.errors import FileFormatError
from rank_rerank.integrations.folder_search.text_files import MAX_BYTES, Skipped, decode, find_files, read_text

TEXT = "Zürich, 東京: naïve\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_known_by_its_bytes(encoding):
    assert decode(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="shift_jis">', "shift_jis"),
        ('<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        ("# -*- coding: iso-8859-2 -*-\n", "iso-8859-2"),
        ("", "cp1252"),
    ],
)
def test_other_encodings_are_those_that_a_file_names(head, encoding):
    text = head + {"shift_jis": "東京", "koi8-r": "Москва", "iso-8859-2": "Łódź", "cp1252": "“naïve” €"}[encoding]
    assert decode(text.encode(encoding)) == text


def test_a_file_that_names_what_is_no_encoding_is_read_all_the_same():
    for name in ("base64", "nonsense", "rot13", "idna", "utf-8"):
        assert decode(f"coding: {name} \xe9".encode("latin-1")) == f"coding: {name} é"


@given(content=st.binary(max_size=200))
def test_any_bytes_are_text_or_binary(content):
    text = decode(content)
    assert text is None or isinstance(text, str)


def test_binary_files_links_hidden_and_large_ones_are_left_out_and_counted(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary").write_bytes(b"PK\0\0")
    (tmp_path / ".hidden").write_text("text")
    (tmp_path / ".git").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "loop").symlink_to(tmp_path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    os.mkfifo(tmp_path / "pipe")
    skipped = Skipped()
    files = find_files(tmp_path, skipped)
    assert [read_text(tmp_path, file, skipped) for file in files] == ["text", None]
    assert (skipped.hidden, skipped.links, skipped.too_large, skipped.binary) == (2, 2, 1, 1)
    (tmp_path / "a.txt").unlink()
    assert read_text(tmp_path, files[0], skipped) is None
    assert skipped.unreadable == 1


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(FileFormatError, match="is not a folder"):
            find_files(path, Skipped())
