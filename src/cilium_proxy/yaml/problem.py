"""What is wrong, where, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error. `path` is the field, such as `spec.ingress[0].toPorts[0]`; empty for the document as a whole."""

    mark: Mark
    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.mark}: {self.path}: " if self.path else f"{self.mark}: "
        return where + self.message + (f"; {self.fix}" if self.fix else "")


class ProblemsError(ValueError):
    """Everything that is wrong with some files. `problems` is never empty."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Problems:
    """Collects problems, so that all of them are reported together."""

    found: list[Problem] = field(default_factory=list)

    def add(self, mark: Mark, path: str, message: str, fix: str = "") -> None:
        """Records one problem."""
        self.found.append(Problem(mark, path, message, fix))

    def __bool__(self) -> bool:
        return bool(self.found)

    def __len__(self) -> int:
        return len(self.found)
