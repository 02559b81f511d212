"""The matrix of kernels and clauses as one HTML page that needs nothing else."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from fuzz.oracle.contract import CLAUSES
from triage.matrix import Matrix
from triage.matrix_text import file_name, gaps_of, mark, rows_of


def page(matrix: Matrix) -> str:
    """The page. What a file's name says is text in it, never markup."""
    environment = Environment(
        loader=PackageLoader("triage"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("matrix.html.j2").render(
        matrix=matrix,
        titles={clause.id: clause.title for clause in CLAUSES},
        coverage=tuple(rows_of(matrix.coverage)),
        gaps=tuple(gaps_of(matrix.coverage)),
        mark=mark,
        name=file_name,
    )
