"""DenseWeights: a linear layer after an encoder, kept in float32."""

from dataclasses import dataclass

from rank_rerank.arrays import Float32Matrix, Float32Vector


@dataclass(frozen=True)
class DenseWeights:
    """A linear layer after an encoder; it is not rounded.

    Attributes:
        weight: [out, in] float32.
        bias: [out] float32.
        activation: "identity" or one of `dense_stages.CURVES`.
        is_residual: add what comes in, times ``residual`` if there is one.
        residual: [out, in] float32, where the sizes differ.
    """

    weight: Float32Matrix
    bias: Float32Vector
    activation: str = "identity"
    is_residual: bool = False
    residual: Float32Matrix | None = None

    @property
    def has_end(self) -> bool:
        """Whether anything follows the product."""
        return self.activation != "identity" or self.is_residual
