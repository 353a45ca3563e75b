"""Which dialect a body on a path is of."""

from collections.abc import Mapping
from typing import Any

from rank_rerank.serving.dialects.cohere_v1 import COHERE_V1
from rank_rerank.serving.dialects.cohere_v2 import COHERE_V2
from rank_rerank.serving.dialects.dialect import Dialect
from rank_rerank.serving.dialects.jina import JINA
from rank_rerank.serving.dialects.librechat import LIBRECHAT
from rank_rerank.serving.dialects.localai import LOCALAI
from rank_rerank.serving.dialects.own import OWN
from rank_rerank.serving.dialects.tei import TEI
from rank_rerank.serving.dialects.vllm import VLLM
from rank_rerank.serving.dialects.voyage import VOYAGE
from rank_rerank.serving.dialects.xinference import XINFERENCE

# the first whose fields a body has answers it; the last takes what is left
DIALECTS: dict[str, tuple[Dialect, ...]] = {
    "/rerank": (TEI, LIBRECHAT, OWN, COHERE_V1, XINFERENCE, LOCALAI, VLLM, JINA),
    "/v1/rerank": (TEI, LIBRECHAT, OWN, COHERE_V1, XINFERENCE, LOCALAI, VLLM, JINA),
    "/v2/rerank": (TEI, LIBRECHAT, OWN, VLLM, COHERE_V2),
    "/voyage/rerank": (VOYAGE,),
    "/voyage/v1/rerank": (VOYAGE,),
}


def choose_dialect(path: str, values: Mapping[str, Any]) -> Dialect:
    """The dialect of a body.

    Args:
        path: one of those above.
        values: the body.
    """
    return next(dialect for dialect in DIALECTS[path] if dialect.is_its(values))
