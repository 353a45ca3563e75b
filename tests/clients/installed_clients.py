"""Which clients are installed here, and what each must get."""

import os
import warnings
from dataclasses import dataclass

import pytest

from rank_rerank import Ranking

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


@dataclass(frozen=True)
class Known:
    """A question with what rerank gives in this process."""

    query: str
    texts: list
    ranking: Ranking

    @property
    def hits(self):
        """Index and relevance of each hit, to the bit."""
        return [(hit.index, hit.relevance) for hit in self.ranking]
