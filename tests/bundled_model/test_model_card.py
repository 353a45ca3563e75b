import pytest

pytest.importorskip("torch", reason="building needs PyTorch")
pytest.importorskip("onnx", reason='building needs the extra "export"')
import build

from rank_rerank.export.parity import Fidelity

FIDELITY = Fidelity(
    num_texts=2, num_tokens=12_345, mean_cosine=0.9994, min_cosine=0.99, num_below=3, max_difference=0.1
)

TRAINING = {"steps": 7, "seed": 1, "products": "bfloat16", "before": None}


@pytest.mark.parametrize(
    ("training", "command"),
    [
        (None, "build.py\n"),
        (TRAINING, "train.py --data FOLDER --output model1 --steps 7 --seed 1 --bfloat16\n"),
        (
            {"steps": 5, "seed": 2, "topical": 1.0, "products": "float32", "before": TRAINING},
            (
                "--output model1 --steps 7 --seed 1 --bfloat16\n"
                "    python examples/bundled_model/train.py --data FOLDER "
                "--output model2 --steps 5 --seed 2 --topical 1.0 --start model1\n"
                "    python examples/bundled_model/build.py --model model2\n"
            ),
        ),
    ],
)
def test_a_card_has_the_builds_figures_the_command_that_repeats_it_and_no_gap(training, command):
    card = build.model_card({"some texts": FIDELITY}, training).decode()
    assert "| some texts | 12,345 | 0.99940 | 0.9900 | 3 |\n" in card
    assert command in card
    assert "{" not in card
    lines = card.splitlines()
    headings = [number for number, line in enumerate(lines) if line.startswith("## ")]
    assert all(lines[number - 1] == lines[number + 1] == "" for number in headings)
    assert {"## Quantisation", "## Fidelity", "## Use and limits", "## Rebuild"} <= set(lines)
