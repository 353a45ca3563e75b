"""ConvolutionConfig: what a DeBERTa-v2 may add to its first layer's output: a convolution of the embeddings.

As deberta-v2-xlarge and -xxlarge have it: y = norm(first layer + act(conv(embeddings))).
"""

from dataclasses import dataclass

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"
MAX_KERNEL = 63  # tokens; published models have 3


@dataclass(frozen=True)
class ConvolutionConfig:
    """A convolution along the tokens of a text.

    Attributes:
        kernel_size: tokens that a number depends on, an odd number.
        num_groups: channels are cut into so many groups, each convolved by itself.
        activation: of what it gives, by any name that a configuration uses.
    """

    kernel_size: int
    num_groups: int
    activation: str


def read_convolution(config: JsonSettings, hidden_size: int) -> ConvolutionConfig | None:
    """Read what config.json says of it; None where there is no convolution.

    Args:
        config: config.json.
        hidden_size: channels.

    Raises:
        CheckpointFormatError: a size is out of range.
    """
    kernel_size, num_groups = config.get("conv_kernel_size", 0), config.get("conv_groups", 1)
    if kernel_size <= 0:
        return None
    if kernel_size > MAX_KERNEL or kernel_size % 2 == 0:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "conv_kernel_size" must be odd, and at most {MAX_KERNEL}')
    if not 1 <= num_groups <= hidden_size or hidden_size % num_groups:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "conv_groups" must divide the hidden size {hidden_size}')
    return ConvolutionConfig(kernel_size, num_groups, config.get("conv_act", "tanh"))
