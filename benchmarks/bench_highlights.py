"""Does the best passage of a hit lie where the answer is? A proxy, for no collection here marks its answers.

usage: python benchmarks/bench_highlights.py [--data FOLDER] [--cases 1200]

Each document is the paragraph that answers a question, among two others about the same thing in a random order,
joined by spaces (highlight_cases.py): other paragraphs of the same article (SQuAD), or answers to other questions
about the same disease (MedQuAD). It fits what the model reads. A hit is a top passage that lies within the paragraph
that answers; "touches" counts those that share a character with it. Beside it, with as many words each time as our
passage has: a window at a random place (its expectation, over all places), and the window that shares most with the
query, in stemmed words weighted by idf, which may cross sentences or must stay in one. Intervals of 95 % are by
bootstrap over topics. The way of finding passages was chosen on the topics of half "chosen on"; "held out" holds the
others.
"""

import argparse
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from highlight_cases import Case, medquad_cases, squad_cases
from workloads import DEFAULT_DATA, describe_machine, write_result

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.documents import Document
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.explanation.explanations import explain_document
from rank_rerank.explanation.words import TextWord, sentence_numbers

Span = tuple[int, int]
METHODS = ("ours", "word overlap in a sentence", "word overlap", "random place")
NUM_RESAMPLES = 2000
# how long the others' windows are where we have none, which is a miss
NO_PASSAGE_WORDS = 10
_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(bm25s.tokenization.STOPWORDS_EN)
_STEMMER = Stemmer.Stemmer("english")


def main() -> None:
    """Measure each collection's two halves, print a table, keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cases", type=int, default=1200)
    options = parser.parse_args()
    encoder = rank_rerank.load().encoder
    rows: list[dict[str, object]] = []
    for name, make in (("squad", squad_cases), ("medquad", medquad_cases)):
        cases = make(options.data, options.cases)
        assert all(case.text[slice(*case.answer)] for case in cases)  # noqa: S101
        outcomes, lengths = measure(encoder, cases)
        for half, number in (("chosen on", 0), ("held out", 1)):
            chosen = [case for case in outcomes if zlib.crc32(case.topic.encode()) % 2 == number]
            for method in METHODS:
                row = summarise([outcomes[case][method] for case in chosen], [case.topic for case in chosen])
                rows.append({"set": name, "half": half, "method": method, "cases": len(chosen), **row})
                print(*rows[-1].values(), sep="  ", flush=True)
        print(f"{name}: median words of our passage: {np.median(lengths)}")
    write_result("bench_highlights", [{**describe_machine(default_num_threads()), **row} for row in rows])


def measure(
    encoder: rank_rerank.TokenEncoder, cases: Sequence[Case]
) -> tuple[dict[Case, dict[str, np.ndarray]], list[int]]:
    """For each case that the model reads whole: per method, whether the top passage is inside, and touches."""
    queries = encoder.encode_queries([case.query for case in cases])
    documents = encoder.encode_documents([case.text for case in cases])
    idf = inverse_frequencies([case.text[start:end] for case in cases for start, end in case.paragraphs])
    outcomes: dict[Case, dict[str, np.ndarray]] = {}
    lengths: list[int] = []
    for number, case in enumerate(cases):
        at = np.array([number])
        ours = top_passage(queries.select(at), documents.select(at), case)
        if documents.truncated is None or documents.truncated[number]:
            continue
        words = [(match.start(), match.end()) for match in _WORD.finditer(case.text)]
        inside = NO_PASSAGE_WORDS if ours is None else sum(ours[0] <= a and b <= ours[1] for a, b in words)
        length = min(max(1, inside), len(words))
        lengths.append(length)
        windows = [(words[first][0], words[first + length - 1][1]) for first in range(len(words) - length + 1)]
        within = windows_in_sentences(case.text, words, length)
        outcomes[case] = {
            "ours": np.zeros(2) if ours is None else judge(ours, case),
            "word overlap in a sentence": judge(best_overlap(case, within, idf), case),
            "word overlap": judge(best_overlap(case, windows, idf), case),
            "random place": np.mean([judge(window, case) for window in windows], axis=0),
        }
    return outcomes, lengths


def top_passage(query: TokenEmbeddings, document: TokenEmbeddings, case: Case) -> Span | None:
    """Our best passage, None where no word matched."""
    spans = explain_document(query, case.query, document, Document(case.text), max_spans=1).spans
    return (spans[0].start, spans[0].end) if spans else None


def judge(span: Span, case: Case) -> np.ndarray:
    """[2] whether a passage lies in the paragraph that answers, and whether it touches it."""
    start, end = case.answer
    return np.array([start <= span[0] and span[1] <= end, span[0] < end and start < span[1]], np.float64)


def windows_in_sentences(text: str, words: Sequence[Span], length: int) -> list[Span]:
    """Windows of so many words, or fewer where a sentence ends, that stay in a sentence."""
    numbers = sentence_numbers([TextWord(start, end, (), says_something=True) for start, end in words], text)
    last_of = {number: place for place, number in enumerate(numbers)}
    return [
        (start, words[min(place + length - 1, last_of[numbers[place]])][1]) for place, (start, _) in enumerate(words)
    ]


def best_overlap(case: Case, windows: Sequence[Span], idf: dict[str, float]) -> Span:
    """The first window with the largest sum of idf over the distinct words it shares with the query."""
    wanted = stems(case.query)
    return max(windows, key=lambda window: sum(idf.get(stem, 0) for stem in wanted & stems(case.text[slice(*window)])))


def stems(text: str) -> set[str]:
    return set(_STEMMER.stemWords([word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]))


def inverse_frequencies(texts: Sequence[str]) -> dict[str, float]:
    """BM25's idf of each stem over paragraphs."""
    counts: dict[str, int] = {}
    for text in texts:
        for stem in stems(text):
            counts[stem] = counts.get(stem, 0) + 1
    return {stem: float(np.log1p((len(texts) - count + 0.5) / (count + 0.5))) for stem, count in counts.items()}


def summarise(outcomes: Sequence[np.ndarray], topics: Sequence[str]) -> dict[str, object]:
    """The two shares, and the bootstrap interval of the first over topics."""
    values = np.array(outcomes)  # [cases, 2]
    names, of = np.unique(topics, return_inverse=True)
    sums, counts = np.bincount(of, weights=values[:, 0]), np.bincount(of)
    drawn = np.random.default_rng(0).integers(len(names), size=(NUM_RESAMPLES, len(names)))
    shares = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    inside, touches = values.mean(axis=0)
    return {
        "inside": round(float(inside), 4), "low": round(float(low), 4), "high": round(float(high), 4),
        "touches": round(float(touches), 4),
    }  # fmt: skip


if __name__ == "__main__":
    main()
