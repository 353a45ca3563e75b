"""tokenizer.json made of vocab.txt reads text as transformers' own tokenizer does."""

import json

import model_folders as folders
import pytest

from rank_rerank.checkpoints.find import bundled_folder, find_model
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError

TEXTS = ["Hello, wörld! It's 中文 and naïve.", "unbelievable [MASK] tokens\tand\u00a0spaces", "½ © é"]


@pytest.fixture
def old_folder(tmp_path):
    """An older model: WordPiece's words in vocab.txt, and no tokenizer.json."""
    folder = folders.write_cross_encoder(tmp_path / "old")
    words = json.loads((bundled_folder() / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(words, key=words.get)) + "\n", encoding="utf-8")
    return folder


def convert(folder):
    output = folder.with_name("new")
    return main(["convert", str(folder), str(output)]), output


def test_the_missing_file_is_named_with_the_command_that_makes_it(old_folder):
    with pytest.raises(CheckpointFormatError, match="rank-rerank convert MODEL OUTPUT"):
        find_model(old_folder)


@pytest.mark.parametrize("stated", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_it_reads_text_as_transformers_does(old_folder, stated, capsys):
    import transformers
    from tokenizers import Tokenizer

    folders.write_json(old_folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **stated})
    code, output = convert(old_folder)
    assert code == 0
    assert "vocab.txt" in capsys.readouterr().out
    ours = Tokenizer.from_file(str(output / "tokenizer.json"))
    theirs = transformers.BertTokenizer.from_pretrained(old_folder)
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"]
        assert ours.encode(text, "second").type_ids == theirs(text, "second")["token_type_ids"]
    assert find_model(output).max_length == 64


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "vocab.txt").write_text("a\nb\n"), "lacks the special token"),
        (lambda folder: (folder / "vocab.txt").write_text("a\na\n"), "has a word twice"),
        (lambda folder: (folder / "vocab.txt").write_bytes(b"\xff\xfe"), "not valid UTF-8"),
        (lambda folder: folders.write_json(folder / "config.json", {"model_type": "roberta"}), "transformers"),
        (lambda folder: folders.write_json(folder / "tokenizer_config.json", {"do_basic_tokenize": False}), "basic"),
    ],
)
def test_what_cannot_be_converted_is_said_and_nothing_is_written(old_folder, capsys, damage, words):
    damage(old_folder)
    code, output = convert(old_folder)
    assert code == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in output.parent.iterdir()) == ["old"]


def test_a_folder_with_odd_files_is_not_copied(old_folder, tmp_path, capsys):
    (tmp_path / "secret").write_text("secret")
    (old_folder / "extra.txt").symlink_to(tmp_path / "secret")
    code, output = convert(old_folder)
    assert code == 2
    assert "link out of the model folder" in capsys.readouterr().err
    assert not output.exists()
