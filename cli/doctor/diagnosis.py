"""All checks together, and their outcome as text."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, computed_field

from cli.doctor import accelerators, machine, packages, servers, workdir
from cli.doctor.finding import Finding, State
from pipeline.settings.config import Config

Check = Callable[[Config], list[Finding]]

CHECKS: Sequence[Check] = (
    machine.python,
    machine.system,
    packages.packages,
    servers.servers,
    servers.edge,
    machine.disk,
    machine.memory,
    accelerators.accelerators,
    machine.ports,
    workdir.data,
    workdir.workdir,
    workdir.metadata,
    workdir.served,
    workdir.signing_key,
    workdir.leftovers,
)

_COLOURS = {State.OK: "green", State.NOTE: "cyan", State.WARNING: "yellow", State.BROKEN: "red"}


class Diagnosis(BaseModel):
    """Everything that was found."""

    findings: list[Finding]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def healthy(self) -> bool:
        """Whether nothing essential is broken."""
        return all(finding.state is not State.BROKEN for finding in self.findings)


def diagnose(config: Config, checks: Sequence[Check] = CHECKS) -> Diagnosis:
    """Runs the checks side by side; one that fails is a finding of its own."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda check: _guarded(check, config), checks)
        return Diagnosis(findings=[finding for findings in found for finding in findings])


def _guarded(check: Check, config: Config) -> list[Finding]:
    try:
        return check(config)
    except Exception as error:
        text = f"the check failed: {type(error).__name__}: {error}"
        return [Finding(subject=check.__name__, state=State.BROKEN, text=text)]


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Prints a line for each finding, and what to do below it."""
    from rich.text import Text

    from orchestration.console import plain_console

    console = plain_console(sys.stdout)
    width = max(len(finding.subject) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        console.print(
            Text.assemble(
                (f"{finding.state:<8}", _COLOURS[finding.state]),
                (f"{finding.subject:<{width}}  ", "bold"),
                finding.text,
            )
        )
        if finding.advice:
            console.print(Text(f"{'':{8 + width}}  {finding.advice}", "dim"))
