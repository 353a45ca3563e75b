"""Other libraries' classes over a reranker: a program that uses them changes its import line, and nothing else.

Each class takes a model's name or folder, None for the bundled model, or a reranker that is loaded already.

=====================================  =====================================
``sentence_transformers``              ``CrossEncoder``
``rerankers``                          ``Reranker``, ``Document``, ``Result``, ``RankedResults``
``flashrank``                          ``Ranker``, ``RerankRequest``
``fastembed``                          ``TextCrossEncoder``, ``LateInteractionTextEmbedding``
=====================================  =====================================
"""

from rank_rerank.integrations.compatible.cross_encoder import CrossEncoder
from rank_rerank.integrations.compatible.passage_ranker import Ranker, RerankRequest
from rank_rerank.integrations.compatible.ranked_results import Document, RankedResults, Reranker, Result
from rank_rerank.integrations.compatible.text_models import LateInteractionTextEmbedding, TextCrossEncoder

__all__ = [
    "CrossEncoder",
    "Document",
    "LateInteractionTextEmbedding",
    "RankedResults",
    "Ranker",
    "RerankRequest",
    "Reranker",
    "Result",
    "TextCrossEncoder",
]
