"""proxy.yaml and policy files as source of state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cilium_proxy.config import Config, load
from cilium_proxy.policy.compile import Allocator, CompileError, compile_policies, load_policies, verify
from cilium_proxy.sources.snapshot import Snapshot, make_snapshot
from cilium_proxy.sources.watch import Watched, changes, fingerprint
from cilium_proxy.yaml import ProblemsError

FilesError = ProblemsError
"""The files are wrong; the text says all of it, one line per problem."""


@dataclass(slots=True)
class FileSource:
    """Reads `file` and what it refers to. Identities and endpoints keep their numbers from one reading to the next."""

    file: Path
    access_log: Path | None = None
    _allocator: Allocator | None = None
    _watched: Watched | None = None
    _nudge: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> Snapshot:
        """The state as the files say now. Raises FilesError."""
        # Compiling thousands of policies must not keep xDS waiting.
        return await asyncio.to_thread(self._read)

    async def edits(self) -> AsyncIterator[None]:
        """Yields after every edit since the last `read`, once the files have settled, and after `reload`. Endless."""
        while True:
            await changes(self._watched or Watched.of(self.file), self._nudge)
            self._nudge.clear()
            yield

    def reload(self) -> None:
        """Makes `edits` yield although no edit was noticed."""
        self._nudge.set()

    def _read(self) -> Snapshot:
        self._allocator = self._allocator or Allocator()
        # What was seen of each file before it is read, so that an edit meanwhile is one after it.
        self._watched = Watched.of(self.file, self._watched.policies if self._watched else ())
        before = fingerprint([str(self.file)])
        config = load(self.file)
        others = (*config.policies, *(str(secret.path) for secret in config.secrets))
        self._watched = Watched(self.file, others, tuple(sorted({*before, *fingerprint(others)})))
        compiled = compile_policies(config, load_policies(config.policies, config.places), self._allocator)
        problems = verify(compiled, str(self.file))
        if problems:
            raise CompileError(problems)
        return make_snapshot(config, compiled, self._access_log(config))

    def _access_log(self, config: Config) -> Path | None:
        return None if config.access_log.kind == "none" else self.access_log
