"""The beginnings of the SciFact abstracts among the examples, and one that is too long to read, as a collection."""

import json
from pathlib import Path

SLICE = Path(__file__).resolve().parents[2] / "examples" / "data" / "scifact_claim.jsonl"
LINES = [json.loads(line) for line in SLICE.read_text(encoding="utf-8").splitlines()]
LINES = [
    {**line, "text": 5 * line["text"] if number == 13 else line["text"][:250]} for number, line in enumerate(LINES)
]
CLAIM = "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."


def write_lines(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
