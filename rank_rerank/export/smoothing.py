"""SmoothQuant: move the difficulty of quantizing from activations into weights (Xiao et al. 2023, section 4).

Some channels of a LayerNorm's output are many times larger than the others, in every token. One scale for a token's
row then leaves few steps for the small channels. With factors f, x W = (x / f)(diag(f) W): dividing the channels evens
out the row, and the weights, which have a scale for every output column, take the factors at little cost.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector

# keeps a channel that was silent during calibration from getting an endless factor
SMALLEST = 1e-5


def smoothing_factors(largest_input: AnyArray, largest_weight: AnyArray, strength: float) -> Float32Vector:
    """Choose what to divide each input channel by.

    f = largest_input^strength / largest_weight^(1 − strength), divided by the geometric mean of all f.

    Args:
        largest_input: [in] largest absolute activation of each channel over calibration texts.
        largest_weight: [in] largest absolute weight that meets the channel, over all layers that share the input.
        strength: 0 leaves the activations alone, 1 makes their channels equally large.

    Returns:
        [in] float32, positive.
    """
    activation = np.maximum(largest_input.astype(np.float64), SMALLEST) ** strength
    weight = np.maximum(largest_weight.astype(np.float64), SMALLEST) ** (1 - strength)
    factors = activation / weight
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)
