"""The bar that long work shows; where it moves on, work that nobody waits for ends."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rank_rerank.arguments import check_flag
from rank_rerank.rerankers.cancellation import stop_if_abandoned

# work that is done sooner needs no bar
DELAY_S = 1.0


def progress_bar(total: int, unit: str, show_progress: bool | None) -> "Bar":  # noqa: FBT001 - three values, handed on
    """A bar, for a with statement; tqdm draws it, and is loaded only for that.

    Args:
        total: how many units there are.
        unit: what is counted.
        show_progress: True for at once, wherever the output goes; False for never; None for on a terminal, when it
            takes longer than a second.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison] - 2>&-
    if show_progress is False or (show_progress is None and not is_terminal):
        return Bar(None)
    from tqdm import tqdm  # noqa: PLC0415 - most processes show no bar

    return Bar(tqdm(total=total, unit=unit, delay=0.0 if show_progress else DELAY_S, leave=False))


class _Drawn(Protocol):
    def update(self, n: float) -> object: ...

    def close(self) -> None: ...


class Bar:
    """Counts units, drawn or not.

    Args:
        drawn: a tqdm bar, or None.
    """

    def __init__(self, drawn: _Drawn | None) -> None:
        self._drawn = drawn

    def update(self, count: int = 1) -> None:
        """So many more units are done.

        Raises:
            CancelledError: nobody waits for the rest.
        """
        stop_if_abandoned()
        if self._drawn is not None:
            self._drawn.update(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._drawn is not None:
            self._drawn.close()


def check_show_progress(show_progress: object) -> bool | None:
    """Give the option back if it is True, False or None.

    Raises:
        InvalidArgumentError: it is another thing.
    """
    return None if show_progress is None else check_flag(show_progress, "show_progress")
