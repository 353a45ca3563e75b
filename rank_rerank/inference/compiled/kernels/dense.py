"""The Dense layers after an encoder, in numba's Python and in float32: `dense_stages` says what lies where."""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.kernels.curve import make_add, make_curve
from rank_rerank.inference.compiled.kernels.tiles import make_score
from rank_rerank.kernels.processor import VectorPath


def make_dense(path: VectorPath) -> tuple[Any, Any, Any]:  # noqa: C901 - the parts of one kernel
    """Make ``dense_rows``, ``project_vectors``, ``finish_vectors``: where rows lie, products, and what follows them."""
    ROWS, TAIL_ROWS, STEP = path.rows, path.tail_rows, 4 * path.panel_vectors * path.lanes  # noqa: N806
    float_tile, float_tail = (
        make_score(path, ROWS, "float32", is_full=True),
        make_score(path, TAIL_ROWS, "float32", is_full=False),
    )
    curve, add = make_curve(path), make_add(path)
    part = njit(error_model="numpy")

    @part
    def dense_rows(text: Any, buffer: Any, row_bytes: Any, first_row: Any) -> Any:
        """Where a Dense layer finds or puts a block's rows."""
        if buffer == plan.STREAM_BUFFER:
            return text[plan.STREAM] + first_row * row_bytes
        return text[plan.DENSE] + (buffer - 1) * text[plan.BUFFER_BYTES]

    @part
    def multiply_floats(  # noqa: PLR0913, PLR0917 - a kernel
        panel: Any, source: Any, source_bytes: Any, size: Any, bias: Any, num_rows: Any, target: Any, target_bytes: Any
    ) -> Any:
        r = 0
        while r < num_rows:
            left, rows, result = num_rows - r, source + r * source_bytes, target + r * target_bytes
            if left >= ROWS:
                float_tile(panel, rows, source_bytes, left, size, bias, bias, bias, result, target_bytes)
                r += ROWS
            else:
                float_tail(panel, rows, source_bytes, left, size, bias, bias, bias, result, target_bytes)
                r += TAIL_ROWS

    @part
    def project_vectors(model: Any, text: Any, dense: Any, first_row: Any, num_rows: Any, unit: Any) -> Any:
        """One panel of a Dense layer, in float32."""
        source_bytes, target_bytes, size = (
            model[dense + plan.SOURCE_BYTES], model[dense + plan.TARGET_BYTES], model[dense + plan.DENSE_SIZE]
        )  # fmt: skip
        source = dense_rows(text, model[dense + plan.SOURCE], source_bytes, first_row)
        target = dense_rows(text, model[dense + plan.TARGET], target_bytes, first_row)
        residual = dense_rows(text, plan.RESIDUAL_BUFFER, target_bytes, first_row)
        offset, panel = unit * STEP, unit * size * STEP
        bias = model[dense + plan.DENSE_BIAS] + offset
        for number in range(2):
            panels, result = model[dense + plan.DENSE_PANELS], target
            if number == 1:
                # a second row of biases is zeros
                panels, result, bias = model[dense + plan.RESIDUAL_PANELS], residual, bias + target_bytes
            if panels != 0:
                multiply_floats(
                    panels + panel, source, source_bytes, size, bias, num_rows, result + offset, target_bytes
                )

    @part
    def finish_vectors(model: Any, text: Any, dense: Any, first_row: Any, row: Any) -> Any:
        """Activation and residual of one row of a block."""
        source_bytes, target_bytes = model[dense + plan.SOURCE_BYTES], model[dense + plan.TARGET_BYTES]
        target = dense_rows(text, model[dense + plan.TARGET], target_bytes, first_row) + row * target_bytes
        if model[dense + plan.CURVE] != 0:
            curve(target, model[dense + plan.CURVE], target_bytes // 4)
        if model[dense + plan.RESIDUAL_PANELS] != 0:
            residual = dense_rows(text, plan.RESIDUAL_BUFFER, target_bytes, first_row)
            add(target, residual + row * target_bytes, target_bytes // 4)
        elif model[dense + plan.IS_RESIDUAL] != 0:
            source = dense_rows(text, model[dense + plan.SOURCE], source_bytes, first_row)
            add(target, source + row * source_bytes, model[dense + plan.DENSE_SIZE])

    return dense_rows, project_vectors, finish_vectors
