"""What Envoy's admin interface says."""

from cilium_proxy.supervisor.admin import Admin


async def ask(path, target):
    """The answer to a request; `path`: the interface's Unix socket, or its address."""
    return await Admin(path).request("GET", target)


async def statistic(path, name):
    """The sum of the counters and gauges of that name, whatever stands before it; 0 where there is none."""
    lines = (line.partition(": ") for line in (await ask(path, "/stats")).splitlines())
    return sum(int(value) for key, _, value in lines if key == name or key.endswith(f".{name}"))
