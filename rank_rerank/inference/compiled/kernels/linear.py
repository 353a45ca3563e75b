"""A linear layer's panel for any number of rows, in numba's Python: tiles of rows, and what is left."""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled.kernels.tiles import make_project
from rank_rerank.inference.compiled.tables import RECORD_BYTES, bytes_per_number
from rank_rerank.kernels.processor import VectorPath


def make_project_rows(path: VectorPath) -> Any:
    """Make ``project(source, size, group, records, num_rows, panel, columns, plane, target, row_bytes)``."""
    ROWS, TAIL_ROWS = path.rows, path.tail_rows  # noqa: N806 - constants of the kernel
    STEP, ITEM = 4 * path.panel_vectors * path.lanes, bytes_per_number(path)  # noqa: N806
    project_tile, project_tail = make_project(path, ROWS, is_full=True), make_project(path, TAIL_ROWS, is_full=False)

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
        source_bytes, record_bytes = size * ITEM, (size + group - 1) // group * RECORD_BYTES
        base, base_bytes, scales = columns, 0, columns + plane
        for k in range(0, size, group):
            num_steps = min(group, size - k) * ITEM // 4
            r = 0
            while r < num_rows:
                left = num_rows - r
                rows, record = source + r * source_bytes + k * ITEM, records + r * record_bytes
                result, start = target + r * row_bytes, base + r * base_bytes
                if left >= ROWS:
                    project_tile(panel, rows, source_bytes, left, num_steps, scales, scales + plane,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += ROWS
                else:
                    project_tail(panel, rows, source_bytes, left, num_steps, scales, scales + plane,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += TAIL_ROWS
            panel += num_steps * STEP
            records += RECORD_BYTES
            scales += 2 * plane
            base, base_bytes = target, row_bytes

    return project
