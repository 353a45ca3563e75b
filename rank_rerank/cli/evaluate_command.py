"""``rank-rerank evaluate``: rerankers and runs on a judged collection, with uncertainty, reasons and a gate."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rank_rerank.cli.evaluate_decisions import Decided, Decisions, decide
from rank_rerank.cli.output_files import check_output, write_atomically
from rank_rerank.evaluation.collections import Collection, CollectionFiles, read_collection
from rank_rerank.evaluation.diagnosis import diagnose
from rank_rerank.evaluation.evaluating import evaluate
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.gate import Gate, check_gate, parse_requirement
from rank_rerank.evaluation.options import MEASURES, EvaluationOptions
from rank_rerank.evaluation.report.page import render_evaluation
from rank_rerank.evaluation.runs import Run, read_run
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rerankers import CascadeReranker, CascadeStage, Reranker
from rank_rerank.rerankers.loading import load_with

STANDARD_OUTPUT = "-"
BUNDLED = "bundled"
EXIT_DONE, EXIT_CHECK_FAILED = 0, 1


@dataclass(frozen=True)
class EvaluateOptions:
    """What the user asked for; the fields are the command's arguments."""

    collection: str
    split: str | None
    corpus: str | None
    queries: str | None
    qrels: str | None
    runs_read: tuple[str, ...] | None
    depth: int
    models: tuple[str, ...] | None
    cascade: tuple[list[str], ...] | None
    keep: int
    long_documents: Literal["truncate", "chunk", "error", "best-windows"]
    blend: str
    store: str | None
    measures: tuple[str, ...] | None
    report: str | None
    runs: str | None
    sweep: bool
    calibrate: str | None
    threshold_for: float | None
    dump_training: str | None
    json: str | None
    at_least: tuple[str, ...] | None
    no_worse_than: str | None
    alpha: float
    loading: LoadOptions


def run_evaluate(options: EvaluateOptions) -> int:
    """Evaluate, print the table, write what was asked for.

    Returns:
        0, or 1 where the gate's requirements are not met.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    outputs = [
        Path(name) for name in (options.report, options.json, options.calibrate) if name not in (None, STANDARD_OUTPUT)
    ]
    for output in outputs:
        check_output(output, _inputs(options))
    required = dict(parse_requirement(text) for text in options.at_least or ())
    settings = _settings(options, required)
    collection = _collection(options)
    systems = _systems(options)
    baseline = None
    if options.no_worse_than is not None:
        baseline = _name_run(options.no_worse_than, systems)
        systems[baseline] = read_run(Path(options.no_worse_than), baseline)
    evaluation = evaluate(collection, systems, settings)
    decisions = Decisions(options.sweep, options.calibrate, options.threshold_for, options.dump_training)
    decided = decide(evaluation, decisions)
    gate = None
    if required or baseline is not None:
        gate = check_gate(evaluation, at_least=required, baseline=baseline, alpha=options.alpha)
    _write(options, evaluation, gate, decided)
    return EXIT_DONE if gate is None or gate.passed else EXIT_CHECK_FAILED


def _inputs(options: EvaluateOptions) -> Sequence[str]:
    given = (options.collection, options.corpus, options.queries, options.qrels, options.no_worse_than)
    return [*(name for name in given if name is not None), *(options.runs_read or ())]


def _settings(options: EvaluateOptions, required: Mapping[str, float]) -> EvaluationOptions:
    measures = options.measures or MEASURES
    return EvaluationOptions(
        measures=tuple(dict.fromkeys([*measures, *required])),
        depth=options.depth,
        store=None if options.store is None else Path(options.store),
        runs=None if options.runs is None else Path(options.runs),
        long_documents=options.long_documents,
        blend="auto" if options.blend == "auto" else None,
    )


def _collection(options: EvaluateOptions) -> Collection:
    files = CollectionFiles(
        Path(options.collection),
        options.split,
        *(None if name is None else Path(name) for name in (options.corpus, options.queries, options.qrels)),
    )
    return read_collection(files, candidates=options.runs_read[0] if options.runs_read else None)


def _systems(options: EvaluateOptions) -> dict[str, Reranker | Run]:
    """What is compared: models, cascades, other runs; the bundled model where nothing is named."""
    systems: dict[str, Reranker | Run] = {}
    others = (options.runs_read or ())[1:]
    named = list(options.models or ())
    if not named and not options.cascade and not others:
        named = [BUNDLED]
    loaded: dict[str, Reranker] = {}

    def load(model: str) -> Reranker:
        if model not in loaded:
            loaded[model] = load_with(replace(options.loading, model=None if model == BUNDLED else model))
        return loaded[model]

    for model in named:
        systems[_new_name(_short(model), systems)] = load(model)
    for first, second in options.cascade or ():
        name = _new_name(f"{_short(first)}+{_short(second)}", systems)
        systems[name] = CascadeReranker(load(first), [CascadeStage(load(second), keep=options.keep)])
    for path in others:
        name = _name_run(path, systems)
        systems[name] = read_run(Path(path), name)
    return systems


def _short(model: str) -> str:
    """A model's name in the table: the last part of a path."""
    return model.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or model


def _name_run(path: str, systems: Mapping[str, object]) -> str:
    return _new_name(Path(path).name.removesuffix(".gz"), systems)


def _new_name(name: str, systems: Mapping[str, object]) -> str:
    """The name, with a number where it is another system's already."""
    number = 2
    chosen = name
    while chosen in systems:
        chosen = f"{name}-{number}"
        number += 1
    return chosen


def _write(options: EvaluateOptions, evaluation: Evaluation, gate: Gate | None, decided: Decided) -> None:
    systems = (evaluation.first_stage, *evaluation.systems)
    for notice in dict.fromkeys([*evaluation.notices, *(each for system in systems for each in system.notices)]):
        sys.stderr.write(f"rank-rerank: {notice}\n")
    values = {**evaluation.to_dict(), **({} if gate is None else {"gate": gate.to_dict()})}
    values["diagnoses"] = [diagnose(evaluation, system.name).to_dict() for system in evaluation.systems]
    if options.report is not None:
        write_atomically(Path(options.report), iter([render_evaluation(evaluation, gate)]))
    text = json.dumps({**values, **decided.values}, indent=2) + "\n"
    if options.json == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        sys.stdout.write(evaluation.table() + decided.text)
        if options.json is not None:
            write_atomically(Path(options.json), iter([text]))
    for check in () if gate is None else gate.checks:
        (sys.stdout if check.passed and options.json != STANDARD_OUTPUT else sys.stderr).write(
            f"{'passed' if check.passed else 'FAILED'}: {check.kind}: {check.reason}\n"
        )
