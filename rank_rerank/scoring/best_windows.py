"""What token vectors say beside MaxSim: the best window of a document.

It comes from vectors that are at hand. Windows overlap by half: a document is cut into blocks of 48 tokens, MaxSim
tells what each query token finds in each block, and two neighbors are a window of 96. So it costs one more MaxSim.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float64Vector, Int64Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim_matches

WINDOW_TOKENS = 96
BLOCK_TOKENS = WINDOW_TOKENS // 2


def best_windows(query: AnyArray, documents: TokenEmbeddings, num_threads: int | None = None) -> Float64Vector:
    """The mean best cosine of the query's tokens over the best window of each document.

    Args:
        query: [num_query_tokens, dim].
        documents: their vectors, in the order of the texts.
        num_threads: as for maxsim.

    Returns:
        [num_documents]; minus infinity without tokens.
    """
    if len(documents) == 0:
        return np.empty(0)
    starts, owners = block_starts(documents.offsets[:-1], np.diff(documents.offsets))
    blocks = TokenEmbeddings(documents.vectors, np.unique(np.append(starts, [0, documents.num_tokens])))
    found = maxsim_matches(query, blocks, num_threads=num_threads, trusted=True).similarities
    return window_scores(np.asarray(found), owners, len(documents))


def block_starts(firsts: Int64Vector, lengths: Int64Vector) -> tuple[Int64Vector, Int64Vector]:
    """Where each block of each document begins, and which document it is of: [num_blocks] each.

    Args:
        firsts: [num_documents] the row of each document's first token.
        lengths: [num_documents] its tokens.
    """
    counts = -(-lengths // BLOCK_TOKENS)  # documents without tokens have no block
    owners = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    return firsts[owners] + BLOCK_TOKENS * within, owners


def window_scores(blocks: Float32Matrix, owners: Int64Vector, num_documents: int) -> Float64Vector:
    """The best window of each document, from what each query token finds in its blocks.

    Args:
        blocks: [num_blocks, num_query_tokens] best cosines.
        owners: [num_blocks] which document each block is of, ascending.
        num_documents: of all; one without blocks gets minus infinity.
    """
    best = np.full(num_documents, -np.inf)
    if len(owners) == 0:
        return best
    with_next = np.flatnonzero(owners[1:] == owners[:-1])
    windows = blocks.astype(np.float64).mean(axis=1)  # a document of one block is its own window
    pairs = np.maximum(blocks[with_next], blocks[with_next + 1]).astype(np.float64).mean(axis=1)
    np.maximum.at(best, owners, windows)
    np.maximum.at(best, owners[with_next], pairs)
    return best
