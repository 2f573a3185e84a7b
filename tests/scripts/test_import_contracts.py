from __future__ import annotations

import textwrap

import import_contracts


def test_only_the_body_under_type_checking_is_for_types() -> None:
    """The ``else`` of the same ``if`` runs in every program."""
    source = textwrap.dedent("""\
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from a import (
                b,
            )
        else:
            import c
        """)

    assert {3, 4, 5} == import_contracts.lines_under_type_checking(source)
