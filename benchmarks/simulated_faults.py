"""What simulated machines are, and what goes wrong with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong; times are between two such faults, of each worker or of the whole cluster.

    Attributes:
        worker_hours: of one worker, until its process dies and is started again; infinite for never.
        machine_hours: of one machine with all its workers.
        driver_hours: of the program that runs the job; it is started again with the same call.
        slow_share: of workers that take ``slow_factor`` times as long.
        slow_factor: how slow they are.
        twice_share: of units that are given to a second worker while the first is at work.
        orphan_share: of workers that live on when their driver dies, until their unit is done.
        lost_files: results and receipts that are gone or cut after each death of the driver.
    """

    worker_hours: float = float("inf")
    machine_hours: float = float("inf")
    driver_hours: float = float("inf")
    slow_share: float = 0.0
    slow_factor: float = 10.0
    twice_share: float = 0.0
    orphan_share: float = 0.0
    lost_files: int = 0


@dataclass(frozen=True)
class Machines:
    """What the cluster is made of, and how long a start takes.

    Attributes:
        workers: logical ones.
        workers_per_machine: that die together.
        load_s: seconds until a worker's model is loaded.
        restart_s: until a dead worker is replaced.
        machine_restart_s: until a dead machine is.
        driver_restart_s: until somebody repeats the call.
    """

    workers: int = 64
    workers_per_machine: int = 8
    load_s: float = 3.0
    restart_s: float = 5.0
    machine_restart_s: float = 180.0
    driver_restart_s: float = 60.0
