"""Search in two stages: BM25 finds candidates fast, late interaction puts them in order.

usage: python examples/search_with_bm25.py      (needs the extra "evaluation", which brings bm25s)

The corpus here is the example data's twenty abstracts; with your own, only ``read_corpus`` changes.
"""

import json
from pathlib import Path
from typing import Any

import bm25s

import rank_rerank

DATA = Path(__file__).parent / "data" / "scifact_claim.jsonl"
QUERY = "bone fractures in older women"


def main() -> None:
    """Index the corpus once, then answer a query."""
    corpus = read_corpus(DATA)
    index = bm25s.BM25()
    index.index(tokenize([document["text"] for document in corpus]), show_progress=False)
    places, _ = index.retrieve(tokenize([QUERY]), k=10, show_progress=False)
    candidates = [{**corpus[place], "bm25_rank": rank} for rank, place in enumerate(places[0], start=1)]

    reranker = rank_rerank.load()
    for rank, hit in enumerate(reranker.rerank(QUERY, candidates, top_k=3), start=1):
        print(f"{rank}  {hit.score:6.2f}  (BM25: {hit.metadata['bm25_rank']})  {hit.metadata['title']}")


def read_corpus(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines with a title and a text."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tokenize(texts: list[str]) -> Any:
    """Split texts into words as BM25 counts them."""
    return bm25s.tokenize(texts, stopwords="en", show_progress=False)


if __name__ == "__main__":
    main()
