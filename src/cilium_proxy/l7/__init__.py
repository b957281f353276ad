"""Parsers of L7 protocols, written in Python. Described in docs/python-parsers.md.

A parser is a class: `on_data` says what becomes of the bytes of a connection, its `rule` what a policy may ask of a
message. The policy's `l7proto: python:package.module:Class` makes the proxy run it. Standard library only: this package
is also imported by the interpreter inside Envoy.
"""

from cilium_proxy.l7.connection import Connection
from cilium_proxy.l7.operations import Drop, Error, Inject, More, Operation, Pass
from cilium_proxy.l7.parser import Parser
from cilium_proxy.l7.rule import NoRules, Rule, RuleError

__all__ = [
    "Connection",
    "Drop",
    "Error",
    "Inject",
    "More",
    "NoRules",
    "Operation",
    "Parser",
    "Pass",
    "Rule",
    "RuleError",
]
