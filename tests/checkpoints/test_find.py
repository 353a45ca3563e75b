import json
import shutil

import pytest

from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint
from rank_rerank.errors import CheckpointFormatError, CheckpointNotFoundError, InvalidArgumentError


@pytest.fixture
def folder(tmp_path):
    for name in ("tokenizer.json", "onnx_config.json"):
        shutil.copy(bundled_folder() / name, tmp_path / name)
    (tmp_path / "model_int8.onnx").write_bytes(b"not opened here")
    return tmp_path


def write_config(folder, **values):
    (folder / "onnx_config.json").write_text(json.dumps(values))


@pytest.mark.parametrize("name", [None, "bundled"])
def test_the_bundled_model(name):
    checkpoint = find_checkpoint(name)
    assert (checkpoint.name, checkpoint.dim, checkpoint.precision) == ("bundled", 384, "int8")
    assert checkpoint.settings.query_prefix == checkpoint.settings.document_prefix == ""
    assert not checkpoint.settings.do_query_expansion


def test_a_folder_by_string_or_path(folder):
    assert find_checkpoint(str(folder)).folder == find_checkpoint(folder).folder == folder


def test_missing_keys_take_the_defaults_of_the_format(folder):
    write_config(folder)
    checkpoint = find_checkpoint(folder)
    settings = checkpoint.settings
    assert (settings.query_prefix, settings.document_prefix, settings.query_length) == ("[Q] ", "[D] ", 48)
    assert (settings.document_length, settings.do_query_expansion, checkpoint.dim) == (300, True, 128)
    assert not settings.attend_to_expansion_tokens
    assert settings.skiplist_words == ()


def test_int8_is_chosen_before_fp32_and_either_can_be_forced(folder):
    (folder / "model.onnx").write_bytes(b"not opened here")
    assert find_checkpoint(folder).model_file.name == "model_int8.onnx"
    assert find_checkpoint(folder, precision="fp32").model_file.name == "model.onnx"
    with pytest.raises(InvalidArgumentError, match="precision"):
        find_checkpoint(folder, precision="fp8")


def test_a_precision_that_is_not_there_is_refused(folder):
    with pytest.raises(CheckpointFormatError, match=r"no model\.onnx"):
        find_checkpoint(folder, precision="fp32")


def test_the_choice_is_logged(folder, caplog):
    with caplog.at_level("INFO", "rank_rerank"):
        find_checkpoint(folder)
    assert "model_int8.onnx" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"query_length": "48"}', '"query_length" must be of type int'),
        ('{"query_length": true}', '"query_length" must be of type int'),
        ('{"query_length": 3}', "query_length must be at least 4"),
        ('{"skiplist_words": [1]}', "list of str"),
        ('{"query_prefix_id": "1"}', "int or null"),
        ('{"model_type": "CrossEncoder"}', "late-interaction"),
        ('{"do_lower_case": 1}', "do_lower_case"),
        ('{"similarity": "cosine"}', "maxsim"),
        ('{"query_length": 48, "query_length": 32}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"x": "' + "y" * (5 << 20) + '"}', "larger than such a file can be"),
    ],
    ids=lambda value: value[:30],
)
def test_damaged_settings_are_refused(folder, content, message):
    (folder / "onnx_config.json").write_text(content)
    with pytest.raises(CheckpointFormatError, match=message):
        find_checkpoint(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "model_int8.onnx"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointFormatError, match=name.replace(".", r"\.")):
        find_checkpoint(folder)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointFormatError, match=r"no onnx_config\.json"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["", "/no/such/folder", "~/no/such", "./no", "a/b/c", "plainname"])
def test_what_is_neither_folder_nor_hub_name_is_refused(name):
    with pytest.raises(CheckpointNotFoundError, match="no model folder"):
        find_checkpoint(name)


def test_a_hub_name_that_cannot_be_had_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointNotFoundError, match="owner/model is neither a folder nor"):
        find_checkpoint("owner/model")
