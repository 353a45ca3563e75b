"""Call public functions with arguments of which some are wrong: a result that is documented, or a typed error."""

import random
from itertools import accumulate

import numpy as np
import targets_evaluation
import targets_jobs
import targets_rankings
import targets_reranking
import targets_scoring
import targets_storage
from call_targets import Target
from wild_values import CallersError, wild

SPOILED = (0, 0, 1, 1, 1, 1, 2, 3)  # how many arguments are replaced by anything


def open_cases(seed, folder):
    return Calls(seed, folder)


def all_targets(folder) -> list[Target]:
    return [
        *targets_scoring.TARGETS,
        *targets_rankings.TARGETS,
        *targets_reranking.make_targets(folder),
        *targets_storage.make_targets(folder),
        *targets_evaluation.make_targets(folder),
        *targets_jobs.TARGETS,
    ]


class Calls:
    """Tries the call of a number; ``target`` names the function called last."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._targets = seed, all_targets(folder)
        self._sums = list(accumulate(target.weight for target in self._targets))
        self.target = ""

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        [target] = rng.choices(self._targets, cum_weights=self._sums)
        self.target = target.name
        arguments = {name: draw(rng) for name, draw in target.arguments.items()}
        spoil(rng, arguments, [name for name in arguments if name not in target.fixed])
        before = {name: contents(value) for name, value in arguments.items()}
        try:
            result = target.call(**arguments)
        except (CallersError, *target.allowed):
            return "refused: Python's or the caller's error"
        finally:
            for name, value in arguments.items():
                if before[name] is not None and contents(value) != before[name]:
                    target.fail(f"changed what was passed as {name}")
        if target.check is not None:
            target.check(result, arguments, target)
        return "returned"


def contents(value):
    """What an array, list or dict of the caller's holds, to see whether a call changed it; None for all else."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, value.strides, str(value.dtype), value.flags.writeable, value.tobytes()
    if isinstance(value, list):
        return [contents(item) or id(item) for item in value]
    if isinstance(value, dict):
        return {key: contents(item) or id(item) for key, item in value.items()}
    return None


def spoil(rng: random.Random, arguments: dict, names: list[str]) -> None:
    """Put something else in the place of some arguments, or of an item of a list."""
    for name in rng.sample(names, min(len(names), rng.choice(SPOILED))):
        value = arguments[name]
        if isinstance(value, list) and value and rng.random() < 0.6:
            value = list(value)
            value[rng.randrange(len(value))] = wild(rng)
            arguments[name] = value
        elif isinstance(value, np.ndarray) and value.size and rng.random() < 0.6:
            arguments[name] = spoil_array(rng, value)
        else:
            arguments[name] = wild(rng)


def spoil_array(rng: random.Random, value: np.ndarray) -> np.ndarray:
    """Almost right: numbers of another dtype, one of them extreme."""
    with np.errstate(invalid="ignore", over="ignore"):
        spoiled = value.astype(rng.choice(("u8", "i8", "u4", "f8", "f4", "i4")) if rng.random() < 0.7 else value.dtype)
    if spoiled.dtype.kind == "b":
        extreme = rng.random() < 0.5
    elif spoiled.dtype.kind == "f":
        extreme = rng.choice((np.nan, np.inf, -1.0, 0.5, 3e38, 2.0**63))
    else:
        limits = np.iinfo(spoiled.dtype)
        extreme = rng.choice((limits.max, limits.min, limits.max - 2, 3, 0))
    spoiled.flat[rng.randrange(spoiled.size)] = extreme
    return spoiled
