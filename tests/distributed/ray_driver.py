"""Run a job of small items on a Ray cluster of six logical processors, with two actors.

usage: python ray_driver.py FOLDER ITEMS SECONDS_PER_WINDOW [NUMBER:TEXT…]
"""

import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import ray
from small_jobs import LetterCounter, items_of, job_in

from rank_rerank.distributed import RayEngine
from rank_rerank.distributed.job import run_job


@dataclass(frozen=True)
class SlowCounter(LetterCounter):
    pause: float = 0.0

    def read(self, items):
        # who works, for a test that ends them; in the name, since a name is there at once and whole
        workers = self.folder.path / "workers"
        workers.mkdir(exist_ok=True)
        (workers / str(os.getpid())).touch()
        time.sleep(self.pause)
        return super().read(items)


if __name__ == "__main__":
    folder, count, pause, special = (
        sys.argv[1],
        int(sys.argv[2]),
        float(sys.argv[3]),
        dict(each.split(":") for each in sys.argv[4:]),
    )
    numbers = range(count) if "all" in special else map(int, special)
    texts = {number: special.get(str(number), special.get("all")) for number in numbers}
    job = job_in(Path(folder))
    handler = partial(SlowCounter, job.work.folder, pause=pause)
    ray.init(num_cpus=6, log_to_driver=False)
    run_job(replace(job, work=replace(job.work, open_handler=handler)), items_of(count, texts), RayEngine(workers=2))
