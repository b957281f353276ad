"""Runs conformance vectors: inputs and expected results as data.

`python -m cilium_proxy.testing.vectors KIND FILE...`; each kind is a module of this package with a `run` function
that takes a document and yields one Result per case.
"""

from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError

__all__ = ["Failure", "Result", "UnusableError"]
