"""The rows that go with what is removed, and those that MLflow leaves behind.

The tables of MLflow change with every version, so what hangs on a run or an experiment is asked of the database: its
foreign keys say it. Rows that name a run without one are listed here.
"""

from __future__ import annotations

from typing import Any, Final

_ROOTS: Final = {
    "runs": "run_uuid = ANY (%(runs)s)",
    "logged_models": "model_id = ANY (%(models)s)",
    "experiments": "experiment_id = ANY (%(experiments)s)",
}

_ROLLUPS: Final = (
    "sql_assessment_daily_rollups",
    "sql_span_cost_daily_rollups",
    "sql_trace_metric_daily_rollups",
    "sql_trace_rollup_rebuild_queue",
)
"""Sums over the traces of an experiment, which MLflow removes with it."""

_FOREIGN_KEYS: Final = """
SELECT child.relname, parent.relname,
       array(SELECT attname FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute ON attrelid = conrelid AND attnum = k.number ORDER BY place)::text[],
       array(SELECT attname FROM unnest(confkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute ON attrelid = confrelid AND attnum = k.number ORDER BY place)::text[]
FROM pg_constraint
JOIN pg_class AS child ON child.oid = conrelid JOIN pg_class AS parent ON parent.oid = confrelid
WHERE contype = 'f' AND confdeltype NOT IN ('n', 'd') AND conrelid <> confrelid
  AND child.relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))
ORDER BY 1, 2
"""


def counted(cursor: Any) -> dict[str, str]:  # noqa: ANN401 - psycopg2's cursors have no static type
    """Give, for each table that loses rows, the condition that its rows meet; its parameters are those of a plan."""
    tables = _tables(cursor)
    conditions = {table: condition for table, condition in _ROOTS.items() if table in tables}
    cursor.execute(_FOREIGN_KEYS)
    keys: list[tuple[str, str, list[str], list[str]]] = cursor.fetchall()
    left = _reached(keys, set(conditions))
    own = dict(conditions)
    done: dict[str, str] = {}
    while left:
        # A table comes after all those that it hangs on.
        ready = [table for table in sorted(left) if not any(c == table and p in left for c, p, _, _ in keys)]
        if not ready:
            break  # foreign keys in a circle: none that MLflow has ever had
        for table in ready:
            ways = [own[table]] if table in own else []
            for child, parent, columns, parents in keys:
                if child == table and parent in done:
                    ways.append(
                        f"({', '.join(columns)}) IN (SELECT {', '.join(parents)} FROM {parent} WHERE {done[parent]})"  # noqa: S608
                    )
            done[table] = " OR ".join(f"({way})" for way in ways)
        left -= set(ready)
    done |= {table: "experiment_id = ANY (%(experiments)s)" for table in _ROLLUPS if table in tables}
    return done | _left_behind(tables, done)


def left_behind(cursor: Any) -> dict[str, str]:  # noqa: ANN401
    """Give the tables in which MLflow leaves rows of what is gone, in the order in which they are cleared."""
    return _left_behind(_tables(cursor), counted(cursor))


def count(cursor: Any, conditions: dict[str, str], parameters: dict[str, Any]) -> dict[str, int]:  # noqa: ANN401
    """Count the rows that meet the conditions, for each table that has any."""
    found: dict[str, int] = {}
    for table, condition in conditions.items():
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {condition}", parameters)  # noqa: S608 - names of tables
        [(number,)] = cursor.fetchall()
        if number:
            found[table] = int(number)
    return found


def _reached(keys: list[tuple[str, str, list[str], list[str]]], roots: set[str]) -> set[str]:
    reached = set(roots)
    while True:
        more = {child for child, parent, _, _ in keys if parent in reached} - reached
        if not more:
            return reached
        reached |= more


def _left_behind(tables: set[str], going: dict[str, str]) -> dict[str, str]:
    """Conditions for rows that name what is gone, or goes, without a foreign key."""

    def gone(table: str, key: str, column: str) -> str:
        return f"NOT EXISTS (SELECT 1 FROM {table} AS here WHERE here.{key} = {column} AND NOT ({going[table]}))"  # noqa: S608

    run = gone("runs", "run_uuid", "destination_id")
    of_run = gone("runs", "run_uuid", "source_id")
    conditions = {
        "inputs": f"(destination_type = 'RUN' AND {run}) OR (source_type IN ('RUN_INPUT', 'RUN_OUTPUT') AND {of_run})",
    }
    conditions["input_tags"] = (
        "NOT EXISTS (SELECT 1 FROM inputs WHERE inputs.input_uuid = input_tags.input_uuid"  # noqa: S608
        f" AND NOT coalesce({conditions['inputs']}, false))"
    )
    trace = gone("trace_info", "request_id", "source_id")
    experiment = gone("experiments", "experiment_id::text", "destination_id")
    conditions["entity_associations"] = (
        "created_time <= %(cutoff)s AND ("
        f"(destination_type = 'run' AND {run}) OR (destination_type = 'experiment' AND {experiment})"
        f" OR (source_type = 'trace' AND {trace}))"
    )
    # Tags name an input by its id, so they are cleared while it is known which inputs are going.
    order = ("input_tags", "inputs", "entity_associations")
    return {table: conditions[table] for table in order if table in tables}


def _tables(cursor: Any) -> set[str]:  # noqa: ANN401
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))")
    return {str(name) for (name,) in cursor.fetchall()}
