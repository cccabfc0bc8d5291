"""The nearest vectors, fast: disposable, always rebuilt from the store. It knows no people."""

from arcwise.index.exact import ExactIndex, Hits

__all__ = ["ExactIndex", "Hits"]
