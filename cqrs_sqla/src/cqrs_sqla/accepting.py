"""The statement that accepts messages, and tells which of them are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cqrs_core.envelope import is_text
from cqrs_core.errors import InvalidOption
from cqrs_sqla.moments import now_on
from cqrs_sqla.tables import NAME_LENGTH

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from sqlalchemy.sql.dml import Insert


def accept(connection: sa.Connection, inbox: sa.Table, group: str, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """
    Note that *group* has the messages *ids*, within the transaction.

    A message that another transaction is about to accept makes this wait until that has ended.

    Returns:
        Those that are new to the group.

    Raises:
        InvalidOption: The group's name does not fit into the inbox.
    """
    # MariaDB, MySQL compare without the spaces at the end: "books " would have what "books" has accepted.
    if not (0 < len(group) <= NAME_LENGTH and is_text(group) and "\0" not in group and not group.endswith(" ")):
        raise InvalidOption("group", group, f"a name of at most {NAME_LENGTH} characters, with no space at its end")
    # In one order everywhere, so that two that accept the same ones do not wait for each other.
    wanted = sorted(set(ids))
    if not wanted:
        return set()
    if connection.dialect.name == "postgresql":
        return set(connection.scalars(_insert_array(inbox, connection.dialect, group, wanted)))
    if connection.dialect.name == "sqlite":
        statement: Insert = sqlite.insert(inbox).on_conflict_do_nothing()
    else:
        # What IGNORE would hide beside a repeated key, a name that is too long, was looked for above.
        statement = sa.insert(inbox).prefix_with("IGNORE")
    return _insert_each(connection, statement.values(received_at=now_on(connection.dialect)), inbox, group, wanted)


def _insert_array(inbox: sa.Table, dialect: sa.Dialect, group: str, ids: Sequence[uuid.UUID]) -> Insert:
    array = sa.func.unnest(sa.bindparam("ids", ids, type_=sa.ARRAY(sa.Uuid())))
    rows = sa.select(sa.bindparam("group", group, type_=sa.Text()), array, now_on(dialect))
    columns = ["consumer", "message_id", "received_at"]
    return (
        postgresql.insert(inbox)
        .from_select(columns, rows, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(inbox.c.message_id)
    )


def _insert_each(
    connection: sa.Connection, statement: Insert, inbox: sa.Table, group: str, ids: Sequence[uuid.UUID]
) -> set[uuid.UUID]:
    if connection.dialect.insert_returning:
        return set(connection.scalars(statement.returning(inbox.c.message_id), [_row(group, of) for of in ids]))
    # MySQL answers with a number alone, so one statement tells of one message.
    return {of for of in ids if connection.execute(statement.inline(), _row(group, of)).rowcount == 1}


def _row(group: str, message_id: uuid.UUID) -> dict[str, object]:
    return {"consumer": group, "message_id": message_id}
