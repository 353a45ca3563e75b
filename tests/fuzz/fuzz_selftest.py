"""A part that does what the watchdog looks for: 3 crashes, 5 never ends, 7 raises, 9 is a fault, 11 is refused."""

import os
import signal

from fuzz_child import Fault

from rank_rerank.errors import ShapeError


def open_cases(seed, folder):
    return try_case


def try_case(number: int) -> str:
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    while number == 5:
        pass
    if number == 7:
        raise KeyError(number)
    if number == 9:
        raise Fault("a target", "a fault")
    if number == 11:
        raise ShapeError("refused as it should be")
    return "fine"
