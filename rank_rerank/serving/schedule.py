"""Which request goes next: the one that is nearly done, as long as every deadline that can be met is met."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

# how near a deadline may come, in seconds, before short requests stop going first
MARGIN_S = 0.5
# a request this much smaller than those that are late takes nothing from them that they would notice
SMALL_SHARE = 0.1
# requests that take no longer find a quarter of the time free, unless there are very many of them
SMALL_S = 0.05
KEPT_FREE = 0.25
# sums of times are rounded: a deadline that is passed by less is met
ROUNDING_S = 1e-6


@dataclass
class Demand:
    """What a request asks of the machine.

    Attributes:
        seconds: how long its remaining work takes when it is alone.
        deadline: when it must be done, on a clock that only moves forward.
        priority: lower goes first.
        number: counts requests; of equals the older one goes first.
    """

    seconds: float
    deadline: float
    priority: int = 0
    number: int = 0


AnyDemand = TypeVar("AnyDemand", bound=Demand)


def slack_s(demands: Iterable[Demand], now: float, first: Demand | None = None) -> float:
    """How much later all work could begin without missing a deadline; infinite without work, negative if one is missed.

    Taken in the order of their deadlines, requests meet all of them if any order does. So this is what there is left
    for an order that suits people better.

    Args:
        demands: of all requests.
        now: on their clock.
        first: the one whose deadline is the first that counts, since earlier ones are met or missed without it; None
            for all.
    """
    slack, finished, counts = float("inf"), now, first is None
    for demand in sorted(demands, key=_by_deadline):
        finished += demand.seconds
        counts = counts or demand is first
        if counts:
            slack = min(slack, demand.deadline - finished)
    return slack


def in_time(demands: Iterable[AnyDemand], now: float) -> list[AnyDemand]:
    """As many requests as can meet their deadlines together (Moore 1968): of those that cannot, the largest are late.

    Args:
        demands: of all requests.
        now: on their clock.
    """
    kept: list[tuple[float, int, AnyDemand]] = []
    finished = now
    for order, demand in enumerate(sorted(demands, key=_by_deadline)):
        heapq.heappush(kept, (-demand.seconds, order, demand))
        finished += demand.seconds
        if finished > demand.deadline + ROUNDING_S:
            finished += heapq.heappop(kept)[0]
    return [demand for _, _, demand in kept]


def lateness_s(demands: Sequence[Demand], new: Demand, now: float) -> float:
    """How much too late work would be done if another request were taken; 0 if it can be taken.

    The speed of a machine goes up and down as it is measured. A promise made on the way up may break another on the way
    down, so requests that are late by a little count like all others. Those that are late in any case do not, and they
    hold up none that is much smaller.

    Args:
        demands: of all requests that are here.
        new: of the one that asks.
        now: on their clock.
    """
    possible = [demand for demand in demands if now + demand.seconds <= demand.deadline + ROUNDING_S]
    # what is small may use all time, and what is large leaves some of it
    kept_free = KEPT_FREE * (new.deadline - now) if demands and new.seconds > SMALL_S else 0.0
    slack = slack_s([*possible, new], now, new) - kept_free
    if slack >= 0:
        return 0.0
    kept = in_time(possible, now)
    numbers = {id(demand) for demand in kept}
    late = [demand.seconds for demand in possible if id(demand) not in numbers]
    is_small = bool(late) and new.seconds <= SMALL_SHARE * min(late)
    return 0.0 if is_small and slack_s([*kept, new], now, new) >= 0 else -slack


def choose_next(demands: Sequence[AnyDemand], now: float) -> AnyDemand:
    """The request to work on next.

    While there is time, the one of the best priority with the least left to do: ten documents do not wait for a
    thousand. Once a deadline is near, the one with the earliest deadline, so that a thousand do not wait for ever. A
    request that is late already, because the machine has become slower, holds up no other.

    Args:
        demands: of all requests, at least one.
        now: on their clock.
    """
    hopeful = in_time(demands, now)
    if hopeful and slack_s(hopeful, now) < MARGIN_S:
        return min(hopeful, key=_by_deadline)
    return min(demands, key=lambda demand: (demand.priority, demand.seconds, demand.number))


def _by_deadline(demand: Demand) -> tuple[float, int]:
    return demand.deadline, demand.number
