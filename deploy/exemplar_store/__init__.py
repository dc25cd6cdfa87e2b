"""Exemplar sets by name, in a folder or bucket that replicas and batch jobs share."""

from deploy.exemplar_store.packed import PackedSet
from deploy.exemplar_store.sets import DIGEST, NAME, NO_CONTENT, ExemplarStore

__all__ = ["DIGEST", "NAME", "NO_CONTENT", "ExemplarStore", "PackedSet"]
