"""Faults that are known and being mended: a search that finds them is no news. A line goes when its fault is mended.

Each is a pattern over "part: target | what | where".
"""

KNOWN = (
    # wrong types that end in errors of Python's own
    "calls: hold_in_memory | TypeError | *",
    "calls: render_report | * | *",
    "calls: Calibration.read | TypeError | *",
    "calls: normalize_rows | * | *",
    "calls: CrossEncoder.score | * | *",
    "calls: find_snippet | TypeError | *",
    "calls: TokenEmbeddings.from_list | TypeError | *",
    # trusted= is asked for its truth
    "calls: maxsim* | * | cpu_scorer.py:score",
    # numbers beyond float32, or none at all, on their way to a result
    "calls: Calibration.relevance | RuntimeWarning | *",
    "calls: fit_calibration | RuntimeWarning | *",
    "calls: Compression.project | * | *",
    "calls: Projection.* | * | *",
)
