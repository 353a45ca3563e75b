"""How workers share a pass: they take units of a stage's work from a common counter, one after the other."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from rank_rerank.inference.compiled.tables import DONE, TICKET
from rank_rerank.kernels.atomics import make_load, make_rest, make_store, make_take
from rank_rerank.kernels.processor import VectorPath

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
