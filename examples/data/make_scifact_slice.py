"""Make the slice of SciFact that the README's first command reranks: one claim, and BM25's twenty candidates for it.

usage: python examples/data/make_scifact_slice.py [--data FOLDER] [--claim ID]

FOLDER holds SciFact in BEIR's layout (corpus.jsonl.gz, queries.jsonl.gz, qrels.tsv). Needs the extra "evaluation".
"""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import bm25s
import Stemmer

TARGET = Path(__file__).with_name("scifact_claim.jsonl")
NUM_CANDIDATES = 20


def main() -> None:
    """Index the corpus, take the best candidates of one claim, and write them in BM25's order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/scifact"))
    parser.add_argument("--claim", default="619")
    options = parser.parse_args()
    corpus = read_lines(options.data / "corpus.jsonl.gz")
    claim = next(line["text"] for line in read_lines(options.data / "queries.jsonl.gz") if line["_id"] == options.claim)
    candidates = best_candidates(corpus, claim)
    TARGET.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in candidates), encoding="utf-8")
    print(f"{TARGET}: {len(candidates)} candidates for the claim: {claim}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a compressed JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def best_candidates(corpus: list[dict[str, Any]], claim: str) -> list[dict[str, Any]]:
    """Rank the corpus by BM25 (English stop words and stemming) and keep the beginning."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    texts = [f"{line['title']} {line['text']}" for line in corpus]
    index.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    query = bm25s.tokenize([claim], stopwords="en", stemmer=stemmer, show_progress=False)
    places, _ = index.retrieve(query, k=NUM_CANDIDATES, show_progress=False)
    return [corpus[place] for place in places[0]]


if __name__ == "__main__":
    main()
