"""A process that loads everything anew while it answers: which service a request meets, and what the others do."""

import asyncio
import logging

import pytest
from servers import need_server

need_server()

from rank_rerank.serving import renewal
from rank_rerank.serving.renewal import RenewableApp


class Application:
    """One that says which it is, and when it began and ended; a broken one cannot begin."""

    def __init__(self, service):
        self.name, self.events = service
        self.may_answer = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await self.may_answer.wait()
            await send(self.name)
            return
        await receive()
        if "broken" in self.name:
            raise RuntimeError("can't start new thread")
        self.events.append(f"{self.name} begins")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.events.append(f"{self.name} ends")
        await send({"type": "lifespan.shutdown.complete"})


async def serve(names, talk, events, monkeypatch):
    """Run an application that becomes one after the other of some services, and talk to it."""
    monkeypatch.setattr(renewal, "make_app", Application)
    services = iter([(name, events) for name in names])
    app = RenewableApp(next(services), lambda: next(services))
    told, said = asyncio.Queue(), asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    assert await said.get() == {"type": "lifespan.startup.complete"}
    await talk(app)
    told.put_nowait({"type": "lifespan.shutdown"})
    assert await said.get() == {"type": "lifespan.shutdown.complete"}
    await life


async def ask(app, is_answered=True):
    answers = asyncio.Queue()
    if is_answered:
        app._newest.app.may_answer.set()
    await app({"type": "http"}, None, answers.put)
    return answers.get_nowait()


def test_a_request_ends_with_the_service_that_it_has_begun_with(monkeypatch):
    events = []

    async def talk(app):
        old = app._newest.app
        waiting = asyncio.create_task(ask(app, is_answered=False))
        await asyncio.sleep(0)
        await asyncio.to_thread(app.renew)
        assert await ask(app) == "second"
        assert events == ["first begins", "second begins"]
        old.may_answer.set()
        assert await waiting == "first"
        assert events == ["first begins", "second begins", "first ends"]

    asyncio.run(serve(["first", "second"], talk, events, monkeypatch))
    assert events[-1] == "second ends"


def test_a_service_that_cannot_begin_leaves_the_one_before(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "rank_rerank")
    events = []

    async def talk(app):
        await asyncio.to_thread(app.renew)
        assert await ask(app) == "first"
        assert "can't start new thread" in caplog.text
        await asyncio.to_thread(app.renew)
        assert await ask(app) == "third"

    asyncio.run(serve(["first", "broken", "third"], talk, events, monkeypatch))
    assert events == ["first begins", "third begins", "first ends", "third ends"]


def test_a_server_that_cannot_begin_ends(monkeypatch):
    monkeypatch.setattr(renewal, "make_app", Application)

    async def begin():
        told = asyncio.Queue()
        told.put_nowait({"type": "lifespan.startup"})
        await RenewableApp(("broken", []), lambda: None)({"type": "lifespan"}, told.get, None)

    with pytest.raises(RuntimeError, match="new thread"):
        asyncio.run(begin())
