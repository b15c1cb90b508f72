"""The command line `fitjobs`; it knows the environment's names and none of the server's rooms."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="fitjobs",
    help="Fits a line by gradient descent, as jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _describe() -> None:
    """Keep `up` a command of its own while it is the only one."""


@app.command()
def up(
    *,
    host: Annotated[
        str | None, typer.Option(envvar="FITJOBS_HOST", help="Address to listen on.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(envvar="FITJOBS_PORT", min=0, max=65535, help="TCP port; 0 is a free one."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="FITJOBS_DATA_DIR", help="Where jobs and logs are kept."),
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(envvar="FITJOBS_REDIS_URL", help="Use this Redis and start none."),
    ] = None,
    cpu_workers: Annotated[
        int | None,
        typer.Option(envvar="FITJOBS_CPU_WORKERS", min=1, max=256, help="CPU worker processes."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Run the classic job first.")] = False,
) -> None:
    """Start Redis, workers and API on this machine and serve until Ctrl-C."""
    given = {
        "FITJOBS_HOST": host,
        "FITJOBS_PORT": port,
        "FITJOBS_DATA_DIR": data_dir,
        "FITJOBS_REDIS_URL": redis_url,
        "FITJOBS_CPU_WORKERS": cpu_workers,
    }
    environment = {name: str(value) for name, value in given.items() if value is not None}
    command = [sys.executable, "-m", "app.embedded", *(["--demo"] if demo else [])]
    # The process becomes the server: a client installed alone needs none of the server's rooms,
    # and a signal meets one process, not two.
    os.execve(sys.executable, command, {**os.environ, **environment})  # noqa: S606 - our own words


def main() -> None:
    """Run the command line."""
    app()
