"""A kind of contract for import-linter: a package that lives on the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grimp


class StandardLibrary(Contract):
    """
    A package imports itself and the standard library, wherever the import stands: in a function, too.

    Settings:
        package: The package.
        except_modules: Modules of it, with what is below them, that may import anything.
        type_checking_only: Foreign packages that may be imported under ``if TYPE_CHECKING``.
    """

    type_name = "standard_library"

    package = fields.StringField()
    except_modules = fields.SetField(subfield=fields.StringField(), required=False)
    type_checking_only = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001 - not our signature
        """Find the imports that break the contract."""
        package = str(self.package)
        may = texts(self.except_modules)
        for_types = texts(self.type_checking_only)
        found: list[str] = []
        for importer in sorted({package, *graph.find_descendants(package)}):
            if any(importer == module or importer.startswith(f"{module}.") for module in may):
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                top = imported.partition(".")[0]
                if top == package or top in sys.stdlib_module_names:
                    continue
                for details in graph.get_import_details(importer=importer, imported=imported):
                    line = details["line_number"]
                    if top in for_types and line in type_checking_lines(importer):
                        continue
                    found.append(f"{importer}:{line} imports {imported}")
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import with its place."""
        for line in check.metadata["found"]:
            output.print_error(line)
        output.new_line()
        output.print("Move the import to a module that may have it, or do without.")


def texts(setting: object) -> set[str]:
    """Answer a setting that may be left out; the class declares a field, the instance holds a set."""
    return {str(text) for text in setting} if isinstance(setting, Iterable) else set()


def type_checking_lines(module: str) -> set[int]:
    """Answer the lines of *module* that stand under ``if TYPE_CHECKING``."""
    return {line for path in sources(module) for line in lines_under_type_checking(path.read_text(encoding="utf-8"))}


def lines_under_type_checking(source: str) -> set[int]:
    """Answer the lines of *source* that stand under ``if TYPE_CHECKING``, its ``else`` not included."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    }


def sources(module: str) -> Iterator[Path]:
    """Answer the file of *module* in this checkout."""
    top = module.partition(".")[0]
    path = Path(top, "src", *module.split("."))
    yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
