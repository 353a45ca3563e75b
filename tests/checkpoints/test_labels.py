"""Cross-encoders of two labels: which one counts is said by whoever loads the model."""

import json

import numpy as np
import pytest
from model_folders import HIDDEN, bert_tensors, write_bert, write_cross_encoder

import rank_rerank
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions

QUERY, TEXTS = "a river", ["a river in spring", "bread", "the sea and its tides"]
NAMES = {"0": "irrelevant", "1": "relevant"}


def write_two(folder, names=NAMES):
    """A classifier of two labels."""
    random = np.random.default_rng(3)
    write_cross_encoder(folder)
    head = {
        "bert.pooler.dense.weight": random.normal(size=(HIDDEN, HIDDEN)) * 0.3,
        "bert.pooler.dense.bias": random.normal(size=HIDDEN) * 0.3,
        "classifier.weight": random.normal(size=(2, HIDDEN)),
        "classifier.bias": random.normal(size=2),
    }
    config = json.loads((folder / "config.json").read_text())
    write_bert(folder, bert_tensors("bert.") | head, {**config, "id2label": names})
    return folder


def write_one_of_both(folder, both, label):
    """The same model with one label, as the difference of the rows makes it."""
    tensors = dict(TensorFiles(both / "model.safetensors"))
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][label : label + 1] - tensors[name][1 - label : 2 - label]
    config = json.loads((both / "config.json").read_text())
    identity = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}
    return write_bert(folder, tensors, {**config, "id2label": {"0": "LABEL_0"}, **identity})


@pytest.mark.parametrize("said", [1, "1", "relevant"])
@pytest.mark.parametrize("runtime", ["torch", "numba"])
def test_the_score_is_the_log_odds_of_the_label(tmp_path, runtime, said):
    if runtime == "torch":
        pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    both = write_two(tmp_path / "both")
    expected = rank_rerank.load(write_one_of_both(tmp_path / "one", both, 1), runtime=runtime)
    found = rank_rerank.load(both, runtime=runtime, label=said).rerank(QUERY, TEXTS)
    theirs = expected.rerank(QUERY, TEXTS)
    assert [hit.index for hit in found] == [hit.index for hit in theirs]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in theirs], abs=1e-5)
    assert [hit.relevance for hit in found] == pytest.approx([1 / (1 + np.exp(-hit.score)) for hit in found], abs=1e-6)


def test_the_other_label_gives_the_other_sign(tmp_path):
    both = write_two(tmp_path)
    scores = [
        {hit.index: hit.score for hit in rank_rerank.load(both, runtime="numba", label=label).rerank(QUERY, TEXTS)}
        for label in (0, 1)
    ]
    assert [scores[0][index] for index in range(3)] == pytest.approx(
        [-scores[1][index] for index in range(3)], abs=1e-5
    )


def test_without_a_label_the_labels_are_named(tmp_path):
    with pytest.raises(CheckpointFormatError, match=r"'irrelevant' and 'relevant'.*label='relevant'"):
        find_model(write_two(tmp_path))


def test_a_name_that_is_spelt_like_the_other_index_goes_first(tmp_path):
    swapped = write_two(tmp_path, {"0": "1", "1": "0"})
    assert find_model(swapped, label="1").label == 0
    assert find_model(swapped, label="0").label == 1


@pytest.mark.parametrize("label", ["maybe", 2, -1, True, ""])
def test_an_unknown_label_is_refused(tmp_path, label):
    with pytest.raises(InvalidArgumentError, match="irrelevant"):
        find_model(write_two(tmp_path), label=label)


def test_labels_for_models_that_have_none_to_choose(tmp_path):
    with pytest.raises(InvalidArgumentError, match="one label"):
        find_model(write_cross_encoder(tmp_path / "one"), label=0)
    with pytest.raises(InvalidArgumentError, match="takes no label"):
        find_model(label=1)


def test_names_from_a_file_are_shown_without_what_a_terminal_would_obey(tmp_path):
    write_two(tmp_path, {"0": "\x1b[2J" + "x" * 1000, "1": "yes"})
    with pytest.raises(CheckpointFormatError) as caught:
        find_model(tmp_path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_three_labels_are_refused_with_or_without_a_choice(tmp_path):
    write_two(tmp_path, {str(number): str(number) for number in range(3)})
    for label in (None, 1):
        with pytest.raises(CheckpointFormatError, match="gives 3"):
            find_model(tmp_path, label=label)


def test_the_command_has_the_flag(tmp_path, capsys):
    folder = write_two(tmp_path / "both")
    documents = tmp_path / "documents.txt"
    documents.write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = ["rerank", QUERY, str(documents), "--model", str(folder), "--runtime", "numba"]
    assert main([*arguments, "--label", "relevant"]) == 0
    assert main(arguments) != 0
    assert "--label" in capsys.readouterr().err


def test_the_server_has_the_setting():
    settings = pytest.importorskip("rank_rerank.serving.settings", reason='needs pip install ".[server]"')
    assert settings.read_settings({"label": "relevant"}).load_options == LoadOptions(label="relevant")
