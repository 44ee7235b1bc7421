"""The command line: every command is one public function call; here it is only printed."""

from __future__ import annotations

import sys

import typer

from vlbias.cli.init_commands import check, init
from vlbias.cli.listing import list_
from vlbias.cli.planted_commands import benchmark, demo
from vlbias.cli.report_commands import power, report
from vlbias.cli.run_commands import resume, run
from vlbias.errors import VlbiasError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure gender bias in vision-language models, find where it arises, and take it out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("list")(list_)
app.command("mitigate", help="Another word for run, for studies of mitigations.")(run)
for command in (run, resume, report, init, check, demo, benchmark, power):
    app.command()(command)


def main() -> None:
    """Entry point: prints what a user can repair without a traceback, and exits 2."""
    try:
        app()
    except VlbiasError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
