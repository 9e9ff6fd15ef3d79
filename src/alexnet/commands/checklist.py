"""`alexnet checklist`: the reproducibility checklist of a study, filled from its result files."""

from pathlib import Path

from alexnet.errors import printable
from alexnet.files import write_file
from alexnet.study.report.checklist import checklist
from alexnet.study.report.report import compare_runs


def run(paths: list[Path], *, output: Path | None) -> None:
    """Print the checklist, or write it to a file."""
    comparison = compare_runs(*paths)
    text = checklist(comparison.tables, comparison.found.unreadable)
    if output is None:
        print(printable(text, lines=True), end="")
        return
    write_file(output, text)
    count = text.count("**To answer")
    print(f"Written to {output}: {count} questions are left for the authors, marked **To answer**")
