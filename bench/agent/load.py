"""`python -m bench.agent.load HOST PORT SOURCE RATE`: sends requests at that rate, whatever becomes of them.

For each line of input it prints, as JSON, what became of those since the line before. A request's time begins when it
is due: one that waits for the request before it is late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field

CONNECTIONS = 8
REQUEST = b"GET /api/v1/things HTTP/1.1\r\nhost: bench\r\n\r\n"
LIMIT = 10.0


@dataclass
class Outcomes:
    """Of requests: times of the good ones in seconds, and the reasons of the others."""

    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def take(self) -> dict[str, object]:
        """What there is, which is forgotten."""
        times, failures = sorted(self.times), self.failures
        self.times, self.failures = [], []
        return {
            "requests": len(times) + len(failures),
            "failures": failures,
            **{f"p{share}": _percentile(times, share) for share in (50, 99)},
            "most": times[-1] if times else 0,
        }


def _percentile(times: list[float], share: int) -> float:
    return times[len(times) * share // 100] if times else 0.0


async def _send(address: tuple[str, int], source: str, period: float, offset: float, outcomes: Outcomes) -> None:
    connection = None
    due = time.monotonic() + offset
    while True:
        due += period
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        try:
            async with asyncio.timeout(LIMIT):
                if connection is None:
                    connection = await asyncio.open_connection(*address, local_addr=(source, 0))
                reader, writer = connection
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
            outcomes.times.append(time.monotonic() - due)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcomes.failures.append(f"{type(error).__name__}: {error}")
            if connection is not None:
                connection[1].close()
            connection = None


async def main() -> None:
    """See above."""
    host, port, source, rate = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    outcomes = Outcomes()
    period = CONNECTIONS / rate
    sending = [
        asyncio.create_task(_send((host, port), source, period, number / rate, outcomes))
        for number in range(CONNECTIONS)
    ]
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(outcomes.take()), flush=True)
    for task in sending:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*sending)


if __name__ == "__main__":
    asyncio.run(main())
