"""Run a job of small items with two slow workers; print the number of a worker's process for each window it reads.

After some windows a worker waits until the file FOLDER/go-on is there, so that whoever kills one comes in time.

usage: python slow_driver.py FOLDER ITEMS WINDOWS
"""

import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial

from small_jobs import LetterCounter, items_of, job_in

from rank_rerank.distributed.job import run_job
from rank_rerank.distributed.local_engine import LocalEngine

READ = []  # one for each window that this process has read


@dataclass(frozen=True)
class SlowCounter(LetterCounter):
    num_windows: int = 0

    def read(self, items):
        sys.stdout.write(f"worker {os.getpid()}\n")
        sys.stdout.flush()
        time.sleep(0.05)
        READ.append(None)
        while len(READ) >= self.num_windows and not (self.folder.path / "go-on").exists():
            time.sleep(0.05)
        return super().read(items)


if __name__ == "__main__":
    job = job_in(sys.argv[1])
    work = replace(job.work, open_handler=partial(SlowCounter, job.work.folder, num_windows=int(sys.argv[3])))
    run_job(replace(job, work=work), items_of(int(sys.argv[2])), LocalEngine(2))
