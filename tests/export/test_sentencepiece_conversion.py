"""tokenizer.json made of a SentencePiece model reads text as XLM-RoBERTa's own tokenizer does."""

import struct

import model_folders as folders
import pytest

from rank_rerank.checkpoints.find import find_model
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError

# as every such model begins; the scores of the others are log-probabilities
PIECES = [
    ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0),
    ("▁the", -2.0), ("▁cit", -3.0), ("y", -4.0), ("▁city", -5.0), ("▁", -6.0), ("▁of", -2.5), ("a", -5.5), ("t", -5.5),
]  # fmt: skip


def field(number, wire, content):
    tag = bytes([number << 3 | wire])
    return tag + bytes([len(content)]) + content if wire == 2 else tag + content


def model_bytes(pieces=PIECES, kind=1):
    """A SentencePiece model, byte by byte: pieces, then what it was trained as."""
    content = b""
    for text, score in pieces:
        piece = field(1, 2, text.encode()) + field(2, 5, struct.pack("<f", score))
        content += field(1, 2, piece)
    return content + field(2, 2, field(3, 0, bytes([kind])))


@pytest.fixture
def old_folder(tmp_path):
    folder = folders.write_cross_encoder(tmp_path / "old", model_type="xlm-roberta", pad_token_id=1)
    (folder / "tokenizer.json").unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(model_bytes())
    return folder


def convert(folder):
    output = folder.with_name("new")
    return main(["convert", str(folder), str(output)]), output


def test_the_missing_file_is_named_with_the_command_that_makes_it(old_folder):
    with pytest.raises(CheckpointFormatError, match=r"sentencepiece\.bpe\.model is there.*rank-rerank convert"):
        find_model(old_folder)


def test_pieces_and_ids_are_xlm_robertas(old_folder, capsys):
    from tokenizers import Tokenizer

    code, output = convert(old_folder)
    assert code == 0
    assert "converted sentencepiece.bpe.model" in capsys.readouterr().out
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    # "▁city" of log-probability −5 beats "▁cit" and "y" of −7 together; ids are those of the file and one more
    encoded = tokenizer.encode("  the city\tof")
    assert encoded.tokens == ["<s>", "▁the", "▁city", "▁of", "</s>"]
    assert encoded.ids == [0, 4, 7, 9, 2]
    pair = tokenizer.encode("the", "z")
    assert pair.tokens == ["<s>", "▁the", "</s>", "</s>", "▁", "z", "</s>"]
    assert pair.ids == [0, 4, 2, 2, 8, 3, 2]
    assert tokenizer.encode("the <mask>").ids == [0, 4, len(PIECES) + 1, 2]
    assert set(pair.type_ids) == {0}


def test_it_is_what_transformers_makes_of_the_same_file(old_folder):
    pytest.importorskip("sentencepiece", reason="transformers reads such a file with it")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer

    folders.write_json(old_folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    theirs = transformers.AutoTokenizer.from_pretrained(old_folder)
    ours = Tokenizer.from_file(str(convert(old_folder)[1] / "tokenizer.json"))
    for text in ("the city of", "a tat", "z y", "the <mask>"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (model_bytes(kind=2), "another kind than Unigram's"),
        (model_bytes()[:-3], "no whole SentencePiece model"),
        (model_bytes(PIECES[:3]), "has no pieces"),
        (model_bytes([*PIECES, PIECES[-1]]), "one twice"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\xff" * 40, "no whole SentencePiece model"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_nothing_is_written(old_folder, capsys, content, words):
    (old_folder / "sentencepiece.bpe.model").write_bytes(content)
    code, output = convert(old_folder)
    assert code == 2
    assert words in capsys.readouterr().err
    assert not output.exists()


def test_of_other_architectures_the_way_with_transformers_is_named(old_folder, capsys):
    folders.write_json(old_folder / "config.json", {"model_type": "llama"})
    assert convert(old_folder)[0] == 2
    assert "AutoTokenizer.from_pretrained" in capsys.readouterr().err
