"""The access log: receives entries from Envoy, prints them, finds some of them again.

What runs per entry is crates/observe: it receives, prints and writes in native threads. Here is what chooses and reads.
"""

from cilium_proxy.observe.compact import CompactPrinter
from cilium_proxy.observe.filter import Filter, InvalidFilterError
from cilium_proxy.observe.json_lines import InvalidLineError, parse_line, print_line
from cilium_proxy.observe.names import Names
from cilium_proxy.observe.receiver import Receiver, ReceiverError
from cilium_proxy.observe.service import AccessLogService
from cilium_proxy.observe.source import SourceError, observe

__all__ = [
    "AccessLogService",
    "CompactPrinter",
    "Filter",
    "InvalidFilterError",
    "InvalidLineError",
    "Names",
    "Receiver",
    "ReceiverError",
    "SourceError",
    "observe",
    "parse_line",
    "print_line",
]
