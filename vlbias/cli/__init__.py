"""The command line: every command is one public function call; here it is only printed."""

from __future__ import annotations

import typer

from vlbias.cli import benchmark_commands
from vlbias.cli.compact_command import compact
from vlbias.cli.convert_command import convert
from vlbias.cli.demo_command import demo
from vlbias.cli.init_commands import check, init
from vlbias.cli.listing import list_
from vlbias.cli.output import echo, write_any_letter
from vlbias.cli.report_commands import power, report
from vlbias.cli.run_commands import resume, run
from vlbias.cli.stopping import Stopped, stoppable
from vlbias.cli.submit_command import submit
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
for command in (run, resume, submit, compact, report, init, check, demo, power, convert):
    app.command()(command)

app.add_typer(benchmark_commands.app, name="benchmark")


def main() -> None:
    """Entry point: prints what a user can repair without a traceback, and exits 2.

    Ctrl-C exits 130 and SIGTERM 143, with what was kept.
    """
    write_any_letter()
    try:
        with stoppable():
            app()
    except Stopped as stopped:
        echo(f"stopped by {stopped.by}: {stopped.kept}", err=True)
        raise SystemExit(stopped.code) from None
    except VlbiasError as error:
        echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
