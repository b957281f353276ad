"""The access log: receives entries from Envoy, prints them, finds some of them again.

Asyncio receives; what may block (files, pipes, other receivers) runs in a thread of its own behind a bounded queue.
"""

from cilium_proxy.observe.compact import CompactPrinter
from cilium_proxy.observe.filter import Filter, InvalidFilterError
from cilium_proxy.observe.json_lines import InvalidLineError, parse_line, print_line
from cilium_proxy.observe.names import RESERVED, Names
from cilium_proxy.observe.receiver import Receiver, ReceiverError
from cilium_proxy.observe.service import AccessLogService
from cilium_proxy.observe.source import SourceError, observe
from cilium_proxy.observe.targets import FileTarget, SocketTarget, StreamTarget
from cilium_proxy.observe.writer import Writer

__all__ = [
    "RESERVED",
    "AccessLogService",
    "CompactPrinter",
    "FileTarget",
    "Filter",
    "InvalidFilterError",
    "InvalidLineError",
    "Names",
    "Receiver",
    "ReceiverError",
    "SocketTarget",
    "SourceError",
    "StreamTarget",
    "Writer",
    "observe",
    "parse_line",
    "print_line",
]
