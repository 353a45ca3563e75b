"""Every system compared with the first stage, and with the first of the other systems."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.significance import (
    Comparison,
    bootstrap_interval,
    holm,
    paired_t_test,
    randomization_test,
)
from rank_rerank.evaluation.systems import System

# differences up to this are rounding
SAME = 1e-9


def compare_systems(first_stage: System, systems: Sequence[System], options: EvaluationOptions) -> list[Comparison]:
    """Compare systems on the same queries.

    Args:
        first_stage: the candidates as they come.
        systems: the others; each is compared with the first stage, and from the second on with the first of them.
        options: confidence, samples and seed.

    Returns:
        Comparisons by baseline, measure and system. Holm's correction is over the systems compared with one baseline.
    """
    found: list[Comparison] = []
    for baseline, others in ((first_stage, systems), *((system, systems[1:]) for system in systems[:1])):
        for measure in baseline.values:
            row = [compare(baseline, system, measure, options) for system in others]
            corrected = holm([each.p for each in row])
            found += [replace(each, p_holm=p) for each, p in zip(row, corrected, strict=True)]
    return found


def compare(baseline: System, system: System, measure: str, options: EvaluationOptions) -> Comparison:
    """Compare one system with another by one measure; p_holm is p."""
    differences: AnyArray = system.values[measure] - baseline.values[measure]
    differences = np.where(np.abs(differences) <= SAME, 0, differences)
    p = randomization_test(differences, samples=options.samples, seed=options.seed)
    return Comparison(
        system=system.name,
        baseline=baseline.name,
        measure=measure,
        difference=float(differences.mean()),
        interval=bootstrap_interval(
            differences, confidence=options.confidence, samples=options.samples, seed=options.seed
        ),
        p=p,
        p_t_test=paired_t_test(differences),
        p_holm=p,
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
    )
