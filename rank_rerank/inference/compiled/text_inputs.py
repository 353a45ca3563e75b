"""What a text's table says of its input: token ids, positions, what may be looked at, and rotary angles.

Most texts look at all of their tokens, and then everything but the token ids depends on their length alone. Those
arrays are made once and read by all texts, so that a text costs the interpreter some microseconds.
"""

from collections.abc import Sequence

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Vector, Int64Vector
from rank_rerank.checkpoints.gated_layers import plain_frequencies
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.packed_model import padded_head_size
from rank_rerank.inference.compiled.rotary_angles import RotaryAngles
from rank_rerank.inference.int8_weights.word_table import WordTable
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.tokenization.token_batch import TokenBatch

MASKED = -1e30


class TextInputs:
    """Fills in texts' tables; safe from many threads.

    Args:
        config: the model's shape.
        path: how the processor is used.
        words: the model's.
    """

    def __init__(self, config: TransformerConfig, path: VectorPath, words: WordTable) -> None:
        self._config = config
        self._words = words
        self._panel = path.panel_vectors * path.lanes
        self._angles = {
            slot: RotaryAngles(frequencies, padded_head_size(config, path))
            for slot, frequencies in _frequencies(config)
        }
        count = config.max_positions
        # read from the middle on: as many zeros as a text has tokens, then what fills its last panel
        self._masks = np.repeat(np.array([0, MASKED], np.float32), (count, self._panel))
        self._have_keys = np.ones(0 if config.rotary is None else count, np.int64)
        self._positions = np.arange(config.position_offset, config.position_offset + count, dtype=np.int64)
        self._num_rows = count + config.position_offset
        if config.rotary is not None or not config.has_positions:
            self._positions[:], self._num_rows = 0, 1

    def fill(self, table: Int64Vector, batch: TokenBatch, text: int, *, is_whole: bool) -> Sequence[AnyArray]:
        """Put the addresses of a text's input into its table.

        Args:
            table: of the text.
            batch: where it is.
            text: its number.
            is_whole: nothing in the batch is masked.

        Returns:
            Arrays that must live as long as the table is read.
        """
        start, end = int(batch.offsets[text]), int(batch.offsets[text + 1])
        count = end - start
        token_ids = np.ascontiguousarray(batch.token_ids[start:end], np.int64)
        token_ids, words, scales = self._words.rows(token_ids)
        positions = self._position_rows(batch, start, end)
        masks, have_keys = self._masks[self._config.max_positions - count :], self._have_keys
        if not is_whole:
            attention = batch.attention_mask[start:end]
            masks, have_keys = self._mask(attention), self._rows_with_keys(attention)
        angles = {slot: angles.rows(count) for slot, angles in self._angles.items()}
        for slot, array in (
            (plan.TOKEN_IDS, token_ids), (plan.WORDS, words), (plan.WORD_SCALES, scales),
            (plan.POSITION_ROWS, positions), (plan.MASKS, masks),
            (plan.HAVE_KEYS, have_keys), *angles.items(),
        ):  # fmt: skip
            table[slot] = array.ctypes.data
        return token_ids, words, scales, positions, masks, have_keys, *angles.values()

    def _mask(self, attention: BoolVector) -> AnyArray:
        """0 for a key that may be looked at, and far below 0 for others, up to whole panels."""
        masks = np.full(-(-len(attention) // self._panel) * self._panel, MASKED, np.float32)
        masks[: len(attention)][attention] = 0
        return masks

    def _position_rows(self, batch: TokenBatch, start: int, end: int) -> Int64Vector:
        """Each token's row in the table of positions and token types."""
        config, rows = self._config, self._positions
        if config.rotary is not None:
            return rows
        if config.is_roberta:
            is_token = batch.token_ids[start:end] != config.pad_token_id
            rows = np.cumsum(is_token) * is_token + config.pad_token_id
        if batch.token_types is not None:
            rows = rows[: end - start] + batch.token_types[start:end] * self._num_rows
        return rows.astype(np.int64, copy=False)

    def _rows_with_keys(self, attention: BoolVector) -> Int64Vector:
        """1 for each token that has a key in its window, else 0: what it attends to in a local layer is then zeros."""
        if self._config.rotary is None:
            return self._have_keys
        tokens = np.arange(len(attention))
        counts = np.concatenate([[0], np.cumsum(attention)])
        window = self._config.rotary.window
        last = np.minimum(tokens + window + 1, len(attention))
        return (counts[last] > counts[np.maximum(tokens - window, 0)]).astype(np.int64)


def _frequencies(config: TransformerConfig) -> list[tuple[int, Float32Vector]]:
    """The angles of position 1 of a model, with their index in a text's table."""
    if config.gated is not None:
        return [(plan.GLOBAL_ANGLES, config.gated.frequencies(config.head_size))]
    if config.rotary is None:
        return []
    thetas = {plan.GLOBAL_ANGLES: config.rotary.global_theta, plan.LOCAL_ANGLES: config.rotary.local_theta}
    return [(slot, plain_frequencies(theta, config.head_size)) for slot, theta in thetas.items()]
