"""r2d2, the protocol of Cilium's tutorial: lines of `READ file`, `WRITE file`, `HALT` or `RESET`, each answered."""

import re
from dataclasses import dataclass
from typing import Literal

from cilium_proxy.l7 import Drop, Error, More, Operation, Parser, Pass, Rule, RuleError

MAX_LINE = 65536


@dataclass(frozen=True)
class Command:
    """What a line asks for."""

    cmd: str
    file: str


@dataclass(frozen=True)
class CommandRule(Rule):
    """`cmd` is the command, `file` a regular expression found in the file's name."""

    cmd: Literal["READ", "WRITE", "HALT", "RESET"] | None = None
    file: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if self.file and self.cmd in ("HALT", "RESET"):
            raise RuleError(f"cmd {self.cmd} has no file, so the rule may not name one")

    def matches(self, message: Command) -> bool:
        """Whether the command is the rule's."""
        if self.cmd and self.cmd != message.cmd:
            return False
        return self.file is None or self.file.search(message.file) is not None


class R2d2(Parser[Command]):
    """The parser of one connection."""

    rule = CommandRule

    def on_data(self, reply: bool, end_stream: bool, data: bytes) -> Operation:
        """Judges a line of the client, and passes one of the server."""
        line, end, _ = data.partition(b"\r\n")
        if not end:
            return Error(f"a line of over {MAX_LINE} bytes") if len(data) > MAX_LINE else More()
        length = len(line) + len(end)
        if reply:
            return Pass(length)
        cmd, *files = line.decode(errors="replace").split(" ")
        if self.allows(Command(cmd, files[0] if len(files) == 1 else "")):
            return Pass(length)
        self.inject(True, b"ERROR\r\n")
        return Drop(length)
