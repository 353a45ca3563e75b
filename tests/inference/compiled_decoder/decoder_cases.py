"""Texts and files that the tests of compiled causal rerankers share."""

from dataclasses import replace

import numpy as np

from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE
from rank_rerank.export.decoder_int8 import write_int8_decoder
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.tokenization.token_batch import TokenizedText, pack

PATHS = [path for path in usable_vector_paths() if is_supported(path)]
# each path compiles for seconds: the best one and that of most processors, and all in the long form
QUICK_PATHS = [path for path in PATHS if path == PATHS[0] or path.name == "avx2"]


def prefixed_texts():
    """Texts with forty tokens in common."""
    random = np.random.default_rng(2)
    prefix = random.integers(0, 300, 40)
    return [np.concatenate([prefix, random.integers(0, 300, length)]) for length in (1, 5, 29, 64, 230, 300)]


def make_batch(texts):
    def tokenized(token_ids):
        everything = np.ones(len(token_ids), np.bool_)
        spans = np.zeros((len(token_ids), 2), np.int32)
        return TokenizedText(np.asarray(token_ids, np.int64), everything, everything, spans, truncated=False)

    return pack([tokenized(each) for each in texts])


def write_exported(checkpoint, folder, path):
    file = folder / INT8_DECODER_FILE
    write_int8_decoder(checkpoint, file, path)
    return replace(checkpoint, model_file=file, precision="int8")
