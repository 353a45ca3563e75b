import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_model
from rank_rerank.devices import suggest_device
from rank_rerank.errors import CheckpointNotFoundError, DeviceError, InvalidArgumentError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """In an empty folder, so that no name is by chance a folder's."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("all-MiniLM-L6-v2", '"sentence-transformers/all-MiniLM-L6-v2"'),
        ("ms-marco-MiniLM-L6-v2", '"cross-encoder/ms-marco-MiniLM-L6-v2"'),
        ("BGE-reranker-base", '"BAAI/BGE-reranker-base"'),
        ("GTE-ModernColBERT-v1", '"lightonai/GTE-ModernColBERT-v1"'),
        ("gte-base", '"Alibaba-NLP/gte-base"'),
        ("of-nobody-we-know", '"owner/of-nobody-we-know"'),
        ("https://huggingface.co/lightonai/LateOn", 'write "lightonai/LateOn"'),
        ("https://huggingface.co/lightonai/LateOn/tree/main", 'write "lightonai/LateOn"'),
        ("hf.co/lightonai/LateOn", 'write "lightonai/LateOn"'),
        ("https://example.org/model.tar.gz", "download the model into a folder"),
        ("some/where/model.safetensors", 'write "some/where"'),
        ("onnx/model.onnx", 'write "onnx"'),
        ("cuda", 'device="cuda"'),
        ("gpu", 'device="cuda"'),
        ("int8", 'precision="int8"'),
        ("torch", 'runtime="torch"'),
        ("a/b/c", "Check the path"),
    ],
)
def test_an_odd_name_is_answered_with_what_to_write(name, cure):
    with pytest.raises(CheckpointNotFoundError) as caught:
        find_model(name)
    assert cure in str(caught.value)


def test_a_file_in_place_of_its_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    for name in ("model.safetensors", tmp_path / "model.safetensors", "./model.safetensors"):
        with pytest.raises(CheckpointNotFoundError, match="a model is a folder"):
            find_model(name)


def test_a_file_that_has_a_hub_names_shape_is_not_asked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("rank_rerank.checkpoints.find.download", lambda *_: pytest.fail("the Hub was asked"))
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").write_bytes(b"")
    with pytest.raises(CheckpointNotFoundError, match="Check the path"):
        find_model("owner/model")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "~nobody-of-this-name/x", "o/\x1b[31m", "owner/mod el", "ö/m"])
def test_no_name_gives_another_error_or_control_characters(name):
    with pytest.raises(CheckpointNotFoundError) as caught:
        find_model(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", [5, b"bundled", ["bundled"], 1.5])
def test_a_name_of_another_type(name):
    with pytest.raises(InvalidArgumentError, match="not a value of type"):
        rank_rerank.load(name)


@pytest.mark.parametrize(
    ("device", "cure"),
    [
        ("gpu", 'device="cuda"'),
        ("GPU:1", 'device="cuda:1"'),
        ("metal", 'device="mps"'),
        ("CPU", 'device="cpu"'),
        ("Auto", 'device="auto"'),
        (5, "not by a value of type int"),
        (None, "not by a value of type NoneType"),
    ],
)
def test_an_odd_device_is_answered_with_what_to_write(device, cure):
    with pytest.raises(DeviceError) as caught:
        rank_rerank.load(device=device)
    assert cure in str(caught.value)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps", "openvino", "something"])
def test_nothing_is_suggested_for_a_name_that_is_right_or_unheard_of(device):
    assert suggest_device(device) == ""
