"""Run a function in a child made by fork, as servers that fork their workers do."""

import multiprocessing


def run_in_forked_child(function):
    """What the function returns there. A child that hangs is ended by the timeout of the test."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function()), daemon=True)
    child.start()
    sender.close()  # so that a child that dies is noticed: what is left of the pipe is its end
    result = receiver.recv()
    child.join()
    assert child.exitcode == 0
    return result
