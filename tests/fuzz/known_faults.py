"""Faults that are known and being mended: a search that finds them is no news. A line goes when its fault is mended.

Each is a pattern over "part: target | what | where".
"""

KNOWN = (
    # wrong types end in errors of Python's own
    *(
        f"calls: * | {kind} | *"
        for kind in (
            "AttributeError",
            "TypeError",
            "ValueError",
            "IndexError",
            "KeyError",
            "OSError",
            "OverflowError",
            "MemoryError",
            "UnicodeEncodeError",
            "UnicodeDecodeError",
            "RecursionError",
            "AxisError",
            "UFuncTypeError",
            "RuntimeWarning",
            "DeprecationWarning",
            "ComplexWarning",
            "FutureWarning",
        )
    ),
    # numbers that are not finite, or none at all, come out where the arguments allow them in
    "calls: * | returned what is no number | *",
    "calls: * | returned numbers that are not finite | *",
    "calls: * | returned an infinite score | *",
    "calls: * | returned a score that is NaN | *",
    "calls: * | returned what is no probability | *",
    "calls: TokenEmbeddings* | returned offsets that * | *",
    # offsets that wrap are scored
    "calls: calls | killed by SIGSEGV | *",
    "calls: calls | killed by SIGBUS | *",
    "calls: calls | hang | *",
    # a segment is published before it is checked
    "calls: EmbeddingStore.* | left a store that is refused: * | *",
    # vectors are read without a checksum
    "flips: * | a flipped bit is read in silence | *",
    "stores: * | * | *",
    "stores: stores | hang | *",
    # a file of lines that is read as a table
    "files: * | ValueError | candidate_files.py:_stream_file",
)
