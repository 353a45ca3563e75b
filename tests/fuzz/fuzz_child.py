"""Try cases of one part, and say which one is being tried, so that whoever watches knows what a crash was about.

usage: python fuzz_child.py PART SEED FIRST COUNT SECONDS FOLDER

``FOLDER/beat`` holds the number of the case being tried, eight bytes. Each fault is a line of JSON on standard output,
and so is the tally of outcomes, every TALLY_EVERY cases and at the end.
"""

import importlib
import json
import logging
import mmap
import struct
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

TALLY_EVERY = 20
MAX_MESSAGE = 1200  # characters of an error: what is longer quotes what was passed
MAX_BYTES = 12 << 30  # of address space: what asks for more is a fault, not the end of the machine
# each part with the packages that it needs beside those of the tests
PARTS = {
    "calls": (), "folders": (), "stores": (), "files": (), "determinism": (), "kills": (), "failing_writes": (),
    "flips": (), "requests": ("fastapi", "httpx", "prometheus_client", "pydantic_settings"), "exchange": ("pyarrow",),
}  # fmt: skip


class Fault(Exception):  # noqa: N818 - it is what is looked for, not what goes wrong here
    """A case behaved as it must not; the message says how, without anything that changes from case to case."""

    def __init__(self, target: str, what: str) -> None:
        super().__init__(f"{target}: {what}")
        self.target, self.what = target, what


def open_part(part: str, seed: int, folder: Path):
    """The function that tries the case of a number, and returns what came of it."""
    return importlib.import_module(f"fuzz_{part}").open_cases(seed, folder)


def judge(tries, number: int) -> tuple[str, dict | None]:
    """Try a case: its outcome, and the fault if it is one."""
    from rank_rerank.errors import RankRerankError

    try:
        return tries(number), None
    except Fault as fault:
        found = {"target": fault.target, "what": fault.what, "where": ""}
    except RankRerankError as error:
        if 0 < len(str(error).strip()) <= MAX_MESSAGE:
            return f"refused: {type(error).__name__}", None
        target = getattr(tries, "target", "")
        found = {"target": target, "what": "a message without words or without end", "where": _where(error)}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - pyo3's panics are no Exceptions
        target = getattr(tries, "target", "")
        found = {"target": target, "what": type(error).__name__, "where": _where(error), "message": str(error)[:200]}
    return "fault", {"case": number, **found}


def _where(error: BaseException) -> str:
    """The deepest function of the package on the way to an error."""
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if "rank_rerank" in Path(code.co_filename).parts:
            place = f"{Path(code.co_filename).name}:{code.co_name}"
        step = step.tb_next
    return place


def main() -> None:
    part, seed, first, count, seconds, folder = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5]), sys.argv[6]
    logging.getLogger("rank_rerank").addHandler(logging.NullHandler())
    logging.getLogger("rank_rerank").propagate = False
    warnings.simplefilter("error")  # a warning that the package lets through is a fault
    tries, tally = open_part(part, seed, Path(folder)), Counter()
    _limit_memory()
    until = time.monotonic() + seconds
    with (Path(folder) / "beat").open("r+b") as file, mmap.mmap(file.fileno(), 8) as beat:
        for number in range(first, first + count):
            beat[:] = struct.pack("<q", number)
            outcome, fault = judge(tries, number)
            tally[outcome] += 1
            if fault:
                _say(fault)
            is_late = time.monotonic() > until
            if is_late or (number + 1) % TALLY_EVERY == 0:
                _say({"next": number + 1, "tally": tally})
                tally.clear()
            if is_late:
                return
    _say({"next": first + count, "tally": tally})


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _say(what) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.modules["fuzz_child"] = sys.modules["__main__"]  # the parts raise this Fault
    main()
