"""How workers share one text: they take units of a stage's work from a common counter.

Their progress is atomic 64-bit integers, sequentially consistent. A step costs some ten nanoseconds where another core
has just touched the number.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import types

from rank_rerank.inference.compiled.tables import DONE, TICKET
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import INT64, Builder, Value, declare, integer

ALIGNMENT = 8
ORDER = "seq_cst"
UNIT_BITS = 32  # a ticket is the number of the stage and, below, that of the next unit
UNIT_MASK = (1 << UNIT_BITS) - 1


def make_worker(
    path: VectorPath, tables: ModuleType, count_units: Any, run_unit: Any, patience: int
) -> Callable[..., None]:
    """Make ``work(schedule, model, text, worker)``, a pass in which any number of workers take part.

    The work of a stage is cut into units that do not depend on each other. Who finishes the last unit of a stage opens
    the next one. With one worker that is a plain loop; with several, nobody ever waits for a worker that did not come,
    and one that waits too long goes home.

    Args:
        path: the processor.
        tables: the indices of the pass: NUM_STAGES, SHARED, WORKSPACES, WORKSPACE_BYTES, and STAGE_FIELDS.
        count_units: ``count_units(schedule, model, text, entry)`` of the stage whose fields begin at entry.
        run_unit: ``run_unit(schedule, model, text, entry, unit, workspace)``.
        patience: how many times to rest, some ten nanoseconds each, before going home; longer than a unit takes.
    """
    take, load, store, rest = make_take(), make_load(), make_store(), make_rest(path)

    def work(schedule: Any, model: Any, text: Any, worker: Any) -> None:
        shared, workspace = text[tables.SHARED], text[tables.WORKSPACES] + worker * text[tables.WORKSPACE_BYTES]
        ticket_address, done_address = shared + 8 * TICKET, shared + 8 * DONE
        is_taken = False
        rests = 0
        ticket = load(ticket_address)
        while ticket >> UNIT_BITS < text[tables.NUM_STAGES]:
            stage, unit = ticket >> UNIT_BITS, ticket & UNIT_MASK
            entry = stage * tables.STAGE_FIELDS
            num_units = count_units(schedule, model, text, entry)
            if unit >= num_units:
                rest()
                rests += 1
                if rests == patience:
                    return
                is_taken = False
                ticket = load(ticket_address)
            elif not is_taken:
                # by then it may be a ticket of the next stage, which is as good
                is_taken = True
                ticket = take(ticket_address)
            else:
                run_unit(schedule, model, text, entry, unit, workspace)
                if take(done_address) + 1 == num_units:
                    store(done_address, 0)
                    store(ticket_address, (stage + 1) << UNIT_BITS)
                rests = 0
                is_taken = False
                ticket = load(ticket_address)

    return work


def make_take() -> Any:
    """Make ``take(address)``: add one, and give what was there before."""

    def emit(builder: Builder, address: Value) -> Value:
        return builder.atomic_rmw("add", _pointer(builder, address), integer(1), ORDER)

    return make_intrinsic(emit, 1, types.int64)


def make_load() -> Any:
    """Make ``load(address)``."""

    def emit(builder: Builder, address: Value) -> Value:
        return builder.load_atomic(_pointer(builder, address), ORDER, ALIGNMENT)

    return make_intrinsic(emit, 1, types.int64)


def make_store() -> Any:
    """Make ``store(address, number)``."""

    def emit(builder: Builder, address: Value, number: Value) -> None:
        builder.store_atomic(number, _pointer(builder, address), ORDER, ALIGNMENT)

    return make_intrinsic(emit, 2)


def make_rest(path: VectorPath) -> Any:
    """Make ``rest()``: tell the processor that this thread only waits."""

    def emit(builder: Builder) -> None:
        if path.architecture == "x86":
            builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif path.architecture == "arm":
            builder.call(
                declare(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)]), [integer(1, ir.IntType(32))]
            )

    return make_intrinsic(emit, 0)


def _pointer(builder: Builder, address: Value) -> Value:
    return builder.inttoptr(address, INT64.as_pointer())
