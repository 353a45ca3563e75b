"""A linear layer's panel for any number of rows, in numba's Python: tiles of rows, and what is left."""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled.kernels.tiles import make_project, project_rows
from rank_rerank.inference.compiled.tables import RECORD_BYTES, LinearProduct, linear_products
from rank_rerank.inference.int8_weights.quantized_linear import GROUP_PLANES
from rank_rerank.kernels.processor import VectorPath


def make_project_rows(path: VectorPath) -> Any:
    """Make ``project(product, source, size, group, records, num_rows, panel, columns, plane, target, row_bytes)``.

    ``product`` is the layer's index into `tables.linear_products`.
    """
    first, *others = (_make_project_rows(path, product) for product in linear_products(path))
    if not others:

        @njit(error_model="numpy")
        def project_alike(_product: Any, *arguments: Any) -> Any:
            first(*arguments)

        return project_alike
    [second] = others

    @njit(error_model="numpy")
    def project(product: Any, *arguments: Any) -> Any:
        if product == 0:
            first(*arguments)
        else:
            second(*arguments)

    return project


def _make_project_rows(path: VectorPath, product: LinearProduct) -> Any:
    ROWS, TAIL_ROWS = project_rows(path)  # noqa: N806 - constants of the kernel
    STEP = 4 * path.panel_vectors * path.lanes  # noqa: N806
    project_tile, project_tail = (
        make_project(path, ROWS, product, is_full=True),
        make_project(path, TAIL_ROWS, product, is_full=False),
    )

    @njit(error_model="numpy")
    def project(  # noqa: PLR0913, PLR0917 - a kernel
        source: Any,
        size: Any,
        group: Any,
        records: Any,
        num_rows: Any,
        panel: Any,
        columns: Any,
        plane: Any,
        target: Any,
        row_bytes: Any,
    ) -> Any:
        """Rows [num_rows, size] times one panel, group by group along the row: each adds to what the last one left."""
        record_bytes = (size + group - 1) // group * RECORD_BYTES
        base, base_bytes, scales = columns, 0, columns + plane
        for k in range(0, size, group):
            num_steps = min(group, size - k) // 4
            shifts, starts = scales + plane, scales + 2 * plane
            r = 0
            while r < num_rows:
                left = num_rows - r
                rows, record = source + r * size + k, records + r * record_bytes
                result, start = target + r * row_bytes, base + r * base_bytes
                if left >= ROWS:
                    project_tile(panel, rows, size, left, num_steps, scales, shifts, starts,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += ROWS
                else:
                    project_tail(panel, rows, size, left, num_steps, scales, shifts, starts,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += TAIL_ROWS
            panel += num_steps * STEP
            records += RECORD_BYTES
            scales += GROUP_PLANES * plane
            base, base_bytes = target, row_bytes

    return project
