"""The words by which BM25 finds a passage: in prose, in names of source code, and in scripts without spaces."""

import re
from collections.abc import Iterator
from functools import lru_cache
from threading import local

from rank_rerank.devices import import_optional

_WORD = re.compile(r"[^\W_]+")
# the parts of a name: HTTPServer2 is HTTP, Server, 2
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
# scripts that put no spaces between words: pairs of characters stand in for them
UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f]+")


# a stemmer may not be used by two threads at once
_own = local()


def words_of(text: str) -> list[str]:
    """The stems of a text's words, in lower case, repeated as they are in the text."""
    return [stem for word in _WORD.findall(text) for stem in _stems(word)]


@lru_cache(maxsize=200_000)
def _stems(word: str) -> tuple[str, ...]:
    return tuple(_stem(part) for part in _parts(word))


def _parts(word: str) -> Iterator[str]:
    if UNSPACED.search(word):
        for run in UNSPACED.findall(word):
            yield from ([run[first : first + 2] for first in range(len(run) - 1)] or [run])
        yield from UNSPACED.sub(" ", word).lower().split()
        return
    yield word.casefold()
    parts = _PART.findall(word)
    if len(parts) > 1:
        yield from (part.casefold() for part in parts if len(part) > 1)


def _stem(word: str) -> str:
    stemmer = getattr(_own, "stemmer", None)
    if stemmer is None:
        stemmer = _own.stemmer = import_optional("Stemmer", "search", "searching a folder").Stemmer("english")
    return stemmer.stemWord(word)
