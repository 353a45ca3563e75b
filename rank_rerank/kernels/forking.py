"""What a forked child makes anew: locks that a thread of its parent may have held, which is not there to release them.

Plain locks are renewed rather than wrapped: ``with`` takes one of the interpreter's own in one step, so that an
interrupt cannot come between taking it and being bound to give it back.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")

_renewals: "WeakKeyDictionary[Any, Callable[[Any], object]]" = WeakKeyDictionary()


def renew_after_fork(owner: Owner, renew: Callable[[Owner], object]) -> None:
    """Let every child that is forked from now on make something anew, before anything else runs there.

    Args:
        owner: a module or an object, which is not kept alive.
        renew: called in the child with the owner; it must not refer to it otherwise.
    """
    _renewals[owner] = renew


def _renew_all() -> None:
    for owner, renew in list(_renewals.items()):
        renew(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
