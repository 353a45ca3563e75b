"""Which clients are installed here."""

import os
import warnings

import pytest

# read by clients when they are imported: none of them may ask the network for prices or send counts
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"


def need_client(*modules):
    """Skip a file of tests where one of a client's modules is not installed.

    The clients warn while they are imported, which is theirs to mend.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            pytest.importorskip(module)
