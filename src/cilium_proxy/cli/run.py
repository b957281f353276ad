"""`cilium-proxy run`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import click

from cilium_proxy.cli.output import print_problems


@click.command("run")
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("proxy.yaml"),
    show_default=True,
    help="Configuration file. It and the policies it names are watched: an edit is in force within a second.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for sockets. Default: one per configuration file, below $XDG_RUNTIME_DIR or /run.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the control plane does in detail.")
def command(config: Path, state_dir: Path | None, verbose: bool) -> None:
    """Run the proxy with a configuration file.

    The access log goes where the configuration says, the proxy's own log to standard error.

    SIGTERM and Ctrl-C let connections drain for the configured time, a second one stops at once. SIGHUP reads the
    files and opens the access log anew. SIGUSR2 does what `cilium-proxy restart` does. Envoy is started again when it
    crashes; when it ends before it was ready once, its errors are shown and the proxy ends.

    An Envoy whose proxy was killed goes on enforcing. The next run with the same state directory goes on with it and
    has another one take over.

    Exit codes: 0 stopped, 1 Envoy does not start, 2 wrong configuration.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("cilium_proxy").setLevel(logging.DEBUG if verbose else logging.INFO)
    sys.exit(asyncio.run(_run(config, state_dir)))


async def _run(file: Path, state_dir: Path | None) -> int:
    from cilium_proxy.relay.enforce import RefusedError
    from cilium_proxy.sources.files import FilesError, FileSource
    from cilium_proxy.supervisor import preflight, record, state_directory
    from cilium_proxy.supervisor.record import Record
    from cilium_proxy.supervisor.standalone import ACCESS_LOG, Standalone
    from cilium_proxy.supervisor.supervisor import StartError

    try:
        directory = state_directory.create(state_dir or state_directory.default(file))
        source = FileSource(file, access_log=directory.resolve() / ACCESS_LOG)
        first = await source.read()
        # An Envoy that outlived its control plane has the addresses; another one will be given them.
        outlived = Record(directory / record.FILE).is_alive()
        problems = preflight.check(first.config, addresses=not outlived)
        if problems:
            return _fail("\n".join(problems), 2)
        await Standalone(source, first, directory.resolve()).run()
    except FilesError as error:
        print_problems(error.problems)
        return 2
    except (OSError, state_directory.StateDirectoryError) as error:
        return _fail(str(error), 2)
    except (StartError, RefusedError) as error:
        return _fail(str(error), 1)
    return 0


def _fail(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
