"""Softmax as attention calls it: the peak of a row first, then its weights."""

from compiled_intrinsics import compiled

from rank_rerank.inference.compiled.kernels.rows import make_peak, make_softmax


def softmax_of(path, product):
    """A function of scores, which become weights, of the inverse of their sum, which it writes, and their number."""
    peak, softmax = compiled(path, make_peak(path, product), 3), compiled(path, make_softmax(path, product), 3)

    def call(scores, inverse_sum, count):
        peak(scores, inverse_sum, count)
        softmax(scores, inverse_sum, count)

    return call
