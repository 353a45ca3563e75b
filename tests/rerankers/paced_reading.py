"""What tests of time budgets read, and a clock that they set."""

from rank_rerank.rerankers.pace import Pace

QUERY = "What is the capital of France?"
DOCUMENTS = [
    "Bananas are rich in potassium.",
    "",
    "Paris is the capital and largest city of France.",
    "Berlin has been the capital of Germany since 1990.",
    "The French parliament meets in Paris.",
    "Paris is the capital and largest city of France.",
]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def paced(tokens_per_s, *, num_threads=2, longest=100, clock=None):
    return Pace(longest, num_threads, tokens_per_s, characters_a_token=1.0, clock=clock or Clock(), _best=tokens_per_s)
