"""How many examples Hypothesis draws: few and always the same in the test command, more and at random in a search.

The test command runs the profile "steady". ``--hypothesis-profile search`` looks for new cases, as CI does; a failure
prints a line that draws the case again.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

STEADY_COUNT, SEARCH_COUNT = 100, 400

# how long a draw takes says something of the machine, not of the code
WITHOUT_CLOCKS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}


def register_profiles() -> None:
    """Make both profiles known, and the steady one the default, on a machine of CI too."""
    settings.register_profile("steady", derandomize=True, database=None, max_examples=STEADY_COUNT, **WITHOUT_CLOCKS)
    settings.register_profile("search", derandomize=False, max_examples=SEARCH_COUNT, **WITHOUT_CLOCKS)
    settings.load_profile("steady")


def is_steady() -> bool:
    """Whether examples are the same in every run."""
    return settings.default.derandomize


def in_a_search(*values):
    """Values of a parameter that the test command leaves out for its time, and a search tries too."""
    mark = pytest.mark.skipif(is_steady(), reason="tried by a search: --hypothesis-profile search")
    return [pytest.param(value, marks=mark) for value in values]


def forget_loaded_modules() -> None:
    """Keep examples from depending on the order of tests.

    Hypothesis mixes constants into its examples that it finds in the project's modules, in those that are loaded by
    then. It has no setting for that.
    """
    providers._get_local_constants = lambda: providers._local_constants


def examples(count: int, **options) -> settings:
    """So many examples in the test command, and in proportion more in a search."""
    return settings(max_examples=max(1, count * settings.default.max_examples // STEADY_COUNT), **options)
