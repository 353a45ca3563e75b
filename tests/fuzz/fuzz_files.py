"""Read candidate files of any content, by name and through the command: documents, or a typed error and exit code 2."""

import contextlib
import gzip
import io
import json
import random
import sys
from types import SimpleNamespace

from damage import damage_bytes, mutate_json, mutate_text
from fuzz_child import Fault
from wild_values import text, words

from rank_rerank.cli.candidate_files import FORMATS, FileFormat, count_documents, read_candidates
from rank_rerank.cli.main import main
from rank_rerank.cli.records import Columns

SUFFIXES = (".txt", ".jsonl", ".ndjson", ".csv", ".tsv", ".json", "", ".gz", ".jsonl.gz", ".tsv.gz")
COMMAND_SHARE = 0.03
COLUMNS = (Columns(), Columns(), Columns(("id", "text")), Columns(text="title"), Columns(id="n", text="text"))


def open_cases(seed, folder):
    return Files(seed, folder)


class Files:
    """Tries the file of a number; ``target`` is its suffix."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._folder, self.target = seed, folder, ""

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        suffix = rng.choice(SUFFIXES)
        self.target, path = f"a file{suffix}", self._folder / f"candidates{suffix}"
        path.write_bytes(content(rng, suffix))
        if rng.random() < COMMAND_SHARE:
            return self._command(path)
        file_format = FileFormat(rng.choice((None, None, *FORMATS)), rng.choice(COLUMNS))
        found = read_candidates([str(path)], file_format)
        for candidate in found:
            self._check(candidate)
        if count_documents([str(path)], file_format) < len(found):
            raise Fault(self.target, "has more documents than were counted")
        return "read"

    def _check(self, candidate) -> None:
        document = candidate.document
        if not isinstance(document.text, str) or not isinstance(document.id, str | int | None):
            raise Fault(self.target, "gave a document that is none")
        if candidate.line < 1:
            raise Fault(self.target, "gave a line below 1")
        document.text.encode()

    def _command(self, path) -> str:
        """What is printed is a line of JSON a hit, and an error is one line."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        sys.stdin = SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["rerank", "whale", str(path), "--threads", "1"])
        printed, said = (_written(stream) for stream in (out, err))
        if code not in (0, 2):
            raise Fault(self.target, f"ended the command with {code}")
        if code == 2 and (printed or not said.startswith("rank-rerank: error: ") or said.count("\n") != 1):
            raise Fault(self.target, "was refused in another way than with one line")
        for line in printed.removesuffix("\n").split("\n") if printed else ():
            json.loads(line)
        return f"command: {code}"


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()


def content(rng: random.Random, suffix: str) -> bytes:
    """Lines as they should be, in some encoding, and then perhaps damaged."""
    if suffix.startswith((".csv", ".tsv")):
        joint = "," if suffix == ".csv" else "\t"
        rows = [[rng.choice(("text", "id", "title", "Text")), rng.choice(("text", "n", ""))]]
        rows += [[quoted(rng, text(rng)), words(rng, 2)] for _ in range(rng.randint(0, 4))]
        lines = [joint.join(row) for row in rows]
    elif "json" in suffix:
        values = [{"text": text(rng), "title": words(rng, 2), "_id": rng.choice((1, "a", None))} for _ in range(4)]
        lines = [json.dumps(mutate_json(rng, value) if rng.random() < 0.3 else value) for value in values]
    else:
        lines = [text(rng) for _ in range(rng.randint(0, 4))]
    whole = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n", "\u2028")).join(lines) + rng.choice(("", "\n"))
    encoded = whole.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace")
    kind = rng.random()
    encoded = damage_bytes(rng, encoded) if kind < 0.2 else mutate_text(rng, encoded) if kind < 0.3 else encoded
    return gzip.compress(encoded, mtime=0) if suffix.endswith(".gz") and rng.random() < 0.7 else encoded


def quoted(rng: random.Random, value: str) -> str:
    return rng.choice((value, f'"{value}"', '"' + value.replace('"', '""') + '"', f'"{value}'))
