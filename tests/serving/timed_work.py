"""Work of known length, and a clock that tests set."""

from rank_rerank.serving.costs import Meter
from rank_rerank.serving.engine import Engine
from rank_rerank.serving.queue import Limits, Terms, TokenQueue


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Steady(Meter):
    """A thousand tokens a second, whatever is measured."""

    def __init__(self):
        super().__init__(1000)

    def take(self, tokens, seconds):
        pass


class Work:
    """Requests whose pieces move the clock on, as they would on an idle machine."""

    def __init__(self, deadline_s=9.0, longest_s=60.0):
        self.clock = Clock()
        self.queue = TokenQueue(Limits(deadline_s, longest_s), self.clock)
        self.computed = []
        self.engine = Engine(self.queue, self.computed.append)
        self.done = []
        self.finished_at = {}

    def pieces(self, name, tokens, piece, answer):
        while tokens > 0:
            size = min(piece, tokens)
            self.done.append(name)
            self.clock.now += size / 1000
            tokens -= size
            yield size
        self.finished_at[name] = self.clock.now
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, name, tokens, piece=50, answer=None, **terms):
        return self.queue.admit(self.pieces(name, tokens, piece, answer), Steady(), Terms(tokens, **terms))

    def run(self):
        while self.engine.work_once(0):
            pass
