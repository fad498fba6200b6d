"""The matrix of operation x transport x credential: what each official client can do, and what came of it in this run.

A row is one conversation: a client over one of its transports with one kind of credential. A cell is one operation in it. A cell
without an outcome carries the reason why that client does not offer the operation, so that none is empty for nobody's reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

DEVICE_OPERATIONS = ("connect", "telemetry", "batch", "twin", "report", "desired", "method", "command", "reject", "upload")
SERVICE_OPERATIONS = ("registry", "bulk", "twin", "method", "command", "feedback", "files")
READER_OPERATIONS = ("properties", "from the start", "from now on")

PASSED = "passed"
FAILED = "FAILED"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """One conversation. `missing` holds the operations that the client does not offer here, each with its reason."""

    table: str
    client: str
    transport: str
    credential: str
    operations: tuple[str, ...]
    missing: dict[str, str] = field(default_factory=dict, hash=False, compare=False)

    @property
    def name(self) -> str:
        return "-".join(part.replace(" ", "-") for part in (self.client, self.transport, self.credential))


class Matrix:
    """What came of every cell."""

    def __init__(self) -> None:
        self._outcomes: dict[Row, dict[str, str]] = {}

    def hold(self, row: Row, steps: dict[str, Callable[[], None]]) -> None:
        """Takes the steps of a conversation one by one; the first, which opens it, decides whether the others are tried."""
        outcomes = self._outcomes.setdefault(row, {})
        unknown = set(steps) - set(row.operations)
        assert not unknown, f"steps without a column: {unknown}"
        unexplained = set(row.operations) - set(steps) - set(row.missing)
        assert not unexplained, f"neither tried nor explained: {unexplained}"
        failures = {}
        opening, *_ = row.operations
        for operation, step in steps.items():
            if opening in failures:
                outcomes[operation] = FAILED
                continue
            try:
                step()
            except Exception as error:  # noqa: BLE001 (each cell has its own outcome; all of them are raised below)
                failures[operation] = error
                outcomes[operation] = FAILED
            else:
                outcomes[operation] = PASSED
        if failures:
            told = "\n".join(f"{operation}: {type(error).__name__}: {error}" for operation, error in failures.items())
            raise AssertionError(f"{row.name}\n{told}") from next(iter(failures.values()))

    def lines(self) -> list[str]:
        """All tables as text, with the reasons below each."""
        lines = []
        for table in dict.fromkeys(row.table for row in self._outcomes):
            rows = [row for row in self._outcomes if row.table == table]
            lines += ["", table, *self._table(rows)]
        return lines

    def _table(self, rows: list[Row]) -> list[str]:
        reasons: dict[str, str] = {}
        heads = ("client", "transport", "credential", *rows[0].operations)
        cells = [
            (row.client, row.transport, row.credential, *(self._cell(row, operation, reasons) for operation in row.operations))
            for row in rows
        ]
        widths = [max(len(line[place]) for line in (heads, *cells)) for place in range(len(heads))]

        def line(parts: tuple[str, ...]) -> str:
            return "| " + " | ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)) + " |"

        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        notes = [f"  {mark}: not offered: {reason}" for reason, mark in reasons.items()]
        return [line(heads), rule, *map(line, cells), *notes]

    def _cell(self, row: Row, operation: str, reasons: dict[str, str]) -> str:
        if reason := row.missing.get(operation):
            return reasons.setdefault(reason, f"-{len(reasons) + 1}")
        return self._outcomes[row].get(operation, NOT_RUN)


MATRIX = Matrix()
