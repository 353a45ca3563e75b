"""An INT8 file that an export's gate has judged is what `auto` loads; a foreign one is not."""

import json

import family_folders
import pytest
from hub_caches import NAME, FakeHub
from onnx_folders import graph_bytes

from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.judged_int8 import INT8_FILE, NOTE_FILE, Judgement, write_note
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.choose import for_device
from rank_rerank.inference.load_options import RuntimeOptions


@pytest.fixture
def exported(tmp_path):
    """As export --int8 leaves it, with graphs that nothing runs."""
    folder = family_folders.write_cross_encoder_onnx(tmp_path / "exported")
    (folder / "onnx" / "model.onnx").rename(folder / "model.onnx")
    (folder / INT8_FILE).write_bytes(graph_bytes("logits"))
    write_note(folder, Judgement(0.9995, 0.99, 0.9991))
    return folder


def test_auto_loads_it(exported):
    assert find_model(exported).model_file.name == INT8_FILE
    assert find_model(exported, runtime="onnx").precision == "int8"
    assert find_model(exported, precision="fp32").model_file.name == "model.onnx"


def test_a_foreign_one_is_loaded_when_it_is_asked_for(exported):
    (exported / NOTE_FILE).unlink()
    assert find_model(exported).model_file.name == "model.onnx"
    assert find_model(exported, precision="int8").model_file.name == INT8_FILE


def test_another_file_in_its_place_is_not_the_judged_one(exported, caplog):
    (exported / INT8_FILE).write_bytes(graph_bytes("logits", "more"))
    assert find_model(exported).model_file.name == "model.onnx"
    assert "is not the file that int8_judgement.json has judged" in caplog.text


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({"mean_cosine": 0.99}, "mean cosine to the source is 0.99"),
        ({"logit_correlation": 0.5}, "correlate with the source's by 0.5"),
        ({"ndcg_at_10": 0.4, "source_ndcg_at_10": 0.5, "num_queries": 30}, "0.1000 below the source's"),
    ],
)
def test_a_file_that_falls_below_the_gate_gives_way_to_fp32(exported, caplog, measured, said):
    write_note(exported, Judgement(**measured))
    assert find_model(exported).model_file.name == "model.onnx"
    assert said in caplog.text
    assert find_model(exported, precision="int8").model_file.name == INT8_FILE


def test_a_late_interaction_file_that_falls_below_the_gate_gives_way_too(tmp_path, caplog):
    folder = family_folders.write_onnx(tmp_path / "exported")
    (folder / INT8_FILE).write_bytes(graph_bytes("output"))
    assert find_model(folder).precision == "int8"
    write_note(folder, Judgement(0.9991, 0.95))
    assert find_model(folder).precision == "int8"
    write_note(folder, Judgement(0.98, 0.5))
    assert find_model(folder).precision == "fp32"
    assert "mean cosine to the source is 0.98" in caplog.text
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointFormatError, match=r"is not used: its mean cosine.*no model\.onnx beside it"):
        find_model(folder)


def test_of_a_file_below_the_gate_the_hub_is_not_asked_for(tmp_path, monkeypatch):
    folder = family_folders.write_onnx(tmp_path / "exported")
    (folder / INT8_FILE).write_bytes(graph_bytes("output"))
    write_note(folder, Judgement(0.98, 0.5))
    fake = FakeHub(folder, tmp_path / "snapshot")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    assert find_model(NAME).precision == "fp32"
    assert INT8_FILE not in fake.fetched


def test_a_note_without_the_file_is_nothing(exported):
    (exported / INT8_FILE).unlink()
    assert find_model(exported).model_file.name == "model.onnx"
    with pytest.raises(CheckpointFormatError, match="missing"):
        write_note(exported, Judgement())


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": 5}'])
def test_a_damaged_note_is_refused(exported, content):
    (exported / NOTE_FILE).write_text(content)
    with pytest.raises(CheckpointFormatError, match=r"int8_judgement\.json"):
        find_model(exported)


def test_the_note_is_for_people_too(exported):
    assert json.loads((exported / NOTE_FILE).read_text())["logit_correlation"] == 0.9991


@pytest.mark.parametrize(
    ("device", "precision", "wanted"),
    [
        ("auto", "auto", "int8"),
        ("cpu", "auto", "int8"),
        ("cuda", "auto", "fp32"),
        ("openvino", "auto", "fp32"),
        ("cuda", "int8", "int8"),
    ],
)
def test_elsewhere_than_on_the_cpu_fp32_is_taken(exported, device, precision, wanted):
    assert for_device(find_model(exported), RuntimeOptions(device, precision)).precision == wanted


def test_without_an_fp32_file_the_judged_one_stays(exported):
    checkpoint = find_model(exported)
    (exported / "model.onnx").unlink()
    assert for_device(checkpoint, RuntimeOptions("cuda")) == checkpoint


@pytest.mark.parametrize("runtime", ["auto", "onnx", "numba"])
def test_of_such_a_model_the_hub_is_asked_for_that_file(exported, tmp_path, monkeypatch, runtime):
    fake = FakeHub(exported, tmp_path / "snapshot")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    assert find_model(NAME, runtime=runtime).model_file.name == INT8_FILE
    assert {name for name in fake.fetched if name.endswith(".onnx")} == {INT8_FILE}
