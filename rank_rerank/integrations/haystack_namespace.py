"""The wheel has this file as haystack_integrations/components/rankers/rank_rerank, a package that Haystack trusts."""

from rank_rerank.integrations.haystack_ranker import RankRerankRanker

__all__ = ["RankRerankRanker"]
