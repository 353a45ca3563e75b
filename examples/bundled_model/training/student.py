"""The student: the source's encoder and a projection behind it, trained with PyTorch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rank_rerank.tokenization.token_batch import TokenBatch
from training.pylate_folder import read_pylate_folder, write_pylate_folder

# The lowest layers stay as they are: after 60 steps the loss was the same without them, in a fifth less time.
FROZEN_LAYERS = 2
# padded tokens that run at once
TOKEN_BUDGET = 2048


def attend_in_float32(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Attention whose products are float32 under autocast too: PyTorch's bfloat16 ones are slow on a CPU."""
    with torch.autocast("cpu", enabled=False):
        attended, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **options)
    return attended, None


AttentionInterface.register("sdpa_float32", attend_in_float32)
AttentionMaskInterface.register("sdpa_float32", sdpa_mask)


class Student(nn.Module):
    """An encoder whose token vectors are projected; the first numbers of a projected vector are a smaller one.

    Word, position and type embeddings stay as they are: rare words would forget what they meant. So do the lowest
    layers.
    """

    def __init__(self, source: Path, dim: int, *, bfloat16: bool = False) -> None:
        """Load the source's weights; the projection is zero until it is fitted.

        bfloat16: multiply in bfloat16 in the layers; the weights and the rest stay float32.
        """
        super().__init__()
        self._bfloat16 = bfloat16
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.encoder = transformers.BertModel.from_pretrained(
            source,
            add_pooling_layer=False,
            attn_implementation="sdpa_float32",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        for part in (self.encoder.embeddings, *self.encoder.encoder.layer[:FROZEN_LAYERS]):
            part.requires_grad_(requires_grad=False)
        self.projection = nn.Linear(self.encoder.config.hidden_size, dim, bias=False)
        nn.init.zeros_(self.projection.weight)

    def encode(self, batch: TokenBatch) -> Tensor:
        """The projected vectors of all tokens, packed and not yet of unit length: [num_tokens, dim]."""
        vectors: list[Tensor | None] = [None] * len(batch.lengths)
        for texts in buckets(batch.lengths.tolist()):
            rows = [torch.from_numpy(batch.token_ids[batch.offsets[text] : batch.offsets[text + 1]]) for text in texts]
            ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
            with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
                hidden = self.encoder(ids, attention_mask=mask.long()).last_hidden_state.float()
            for text, row, is_token in zip(texts, hidden, mask, strict=True):
                vectors[text] = row[is_token]
        return self.projection(torch.cat([part for part in vectors if part is not None]))

    def load(self, folder: Path) -> None:
        """Take the weights of a saved student."""
        encoder, projection = read_pylate_folder(folder)
        self.encoder.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in encoder.items()})
        self.projection.load_state_dict({"weight": torch.from_numpy(projection)})

    def save(self, folder: Path, source: Path) -> None:
        """Write a model folder that rank_rerank.load and PyLate read."""
        tensors = {name: tensor.detach().numpy() for name, tensor in self.encoder.state_dict().items()}
        write_pylate_folder(folder, tensors, self.projection.weight.detach().numpy(), source)


def buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of like length, as many as TOKEN_BUDGET allows when all are padded to the longest."""
    texts: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda text: lengths[text], reverse=True):
        if texts and (len(texts) + 1) * lengths[texts[0]] > TOKEN_BUDGET:
            yield texts
            texts = []
        texts.append(text)
    yield texts
