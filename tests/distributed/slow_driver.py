"""Run a job of small items with two slow workers; print the number of each unit's process as the unit is begun.

usage: python slow_driver.py FOLDER ITEMS
"""

import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial

from small_jobs import LetterCounter, items_of, job_in

from rank_rerank.distributed.job import run_job
from rank_rerank.distributed.local_engine import LocalEngine


@dataclass(frozen=True)
class SlowCounter(LetterCounter):
    def read(self, items):
        sys.stdout.write(f"worker {os.getpid()}\n")
        sys.stdout.flush()
        time.sleep(0.05)
        return super().read(items)


if __name__ == "__main__":
    job = job_in(sys.argv[1])
    work = replace(job.work, open_handler=partial(SlowCounter, job.work.folder))
    run_job(replace(job, work=work), items_of(int(sys.argv[2])), LocalEngine(2))
