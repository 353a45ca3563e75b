"""The bar that long work shows; where it moves on, work that nobody waits for ends."""

from typing import Any

from tqdm import tqdm

from rank_rerank.arguments import check_flag
from rank_rerank.rerankers.cancellation import stop_if_abandoned

# work that is done sooner needs no bar
DELAY_S = 1.0


def progress_bar(total: int, unit: str, show_progress: bool | None) -> Any:  # noqa: FBT001 - three values, handed on
    """A tqdm bar, for a with statement.

    Args:
        total: how many units there are.
        unit: what is counted.
        show_progress: True for at once, wherever the output goes; False for never; None for on a terminal, when it
            takes longer than a second.
    """
    if show_progress is None:
        return _Bar(total=total, unit=unit, disable=None, delay=DELAY_S, leave=False)
    return _Bar(total=total, unit=unit, disable=not show_progress, leave=False)


class _Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument] - generic for the type checker only
    def update(self, n: float | None = 1) -> bool | None:
        stop_if_abandoned()
        return super().update(n)


def check_show_progress(show_progress: object) -> bool | None:
    """Give the option back if it is True, False or None.

    Raises:
        InvalidArgumentError: it is another thing.
    """
    return None if show_progress is None else check_flag(show_progress, "show_progress")
