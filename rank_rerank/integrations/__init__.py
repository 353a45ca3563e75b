"""Rerankers where people search: one file per framework, which is imported only where the framework is used."""
