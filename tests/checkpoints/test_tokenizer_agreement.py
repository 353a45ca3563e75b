import json

import family_folders
import model_folders as folders
import pytest

from rank_rerank.checkpoints.find import find_model
from rank_rerank.errors import CheckpointFormatError


def tokenizer_with(folder, **parts):
    path = folder / "tokenizer.json"
    folders.write_json(path, {**json.loads(path.read_text()), **parts})


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    ("parts", "stated", "agrees"),
    [
        ({}, {"do_lower_case": True, "strip_accents": True, "tokenize_chinese_chars": True}, True),
        ({}, {"strip_accents": None}, True),
        ({}, {"strip_accents": False}, False),
        ({}, {"do_lower_case": False}, False),
        ({"normalizer": None}, {"do_lower_case": False}, True),
        ({"pre_tokenizer": BYTE_LEVEL}, {"add_prefix_space": False}, True),
        ({"pre_tokenizer": BYTE_LEVEL}, {"add_prefix_space": True}, False),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL]}}, {"add_prefix_space": True}, False),
    ],
)
def test_rules_stated_twice_must_agree(tmp_path, parts, stated, agrees):
    folder = family_folders.write_plain(tmp_path)
    tokenizer_with(folder, **parts)
    folders.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **stated})
    if agrees:
        find_model(folder)
    else:
        with pytest.raises(CheckpointFormatError, match="Make the two agree"):
            find_model(folder)


def test_a_general_tokenizer_class_takes_the_file_as_it_is(tmp_path):
    folder = family_folders.write_plain(tmp_path)
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}
    folders.write_json(folder / "tokenizer_config.json", stated)
    assert find_model(folder)


def test_the_rule_is_that_of_transformers(tmp_path):
    """Where the two differ, transformers reads text otherwise than tokenizer.json says: that is why it is refused."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer

    folder = family_folders.write_plain(tmp_path)
    folders.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    theirs = transformers.AutoTokenizer.from_pretrained(folder)("HELLO World")["input_ids"]
    assert theirs != Tokenizer.from_file(str(folder / "tokenizer.json")).encode("HELLO World").ids
