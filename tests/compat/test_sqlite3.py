"""sqlite3: frozen rows and names as parameters."""

import sqlite3

from _rounds import rounds

DATABASE: sqlite3.Connection | None = None


def database():
    """Opened at first use, which is in the child: it must not be carried over a fork."""
    global DATABASE
    if DATABASE is None:
        DATABASE = sqlite3.connect(":memory:", isolation_level=None)
        DATABASE.execute("CREATE TABLE t (id INTEGER, name TEXT, x REAL)")
    return DATABASE


def run(statement, *parameters):
    return database().execute(statement, *parameters).fetchall()


@rounds
def test_tuples(d):
    return run("SELECT ?, ?, ?", d.rows[2]), run("SELECT ?", (d.astral,))


@rounds
def test_lists(d):
    return run("SELECT ?, ?, ?", d.matrix[1]), run("SELECT ?, ?, ?", d.config["hosts"])


@rounds
def test_names(d):
    return run("SELECT :id, :name, :score, :city", d.records[1]), run("SELECT :stadt", d.strings)


@rounds
def test_executemany(d):
    run("DELETE FROM t")
    database().executemany("INSERT INTO t VALUES (?, ?, ?)", d.rows)
    database().executemany("INSERT INTO t (id, name) VALUES (:id, :name)", d.records)
    return run("SELECT * FROM t ORDER BY id")


@rounds
def test_bytes(d):
    return run("SELECT ?, length(?)", (d.blob, d.blob))


@rounds
def test_frozen_statements(d):
    return run(d.statement), run(d.statement, d.empty["tuple"])


@rounds
def test_in_lists(d):
    return run(f"SELECT 1 WHERE 300 IN ({','.join('?' * len(d.numbers))})", d.numbers)


@rounds
def test_row_factory(d):
    cursor = database().cursor()
    cursor.row_factory = sqlite3.Row
    row = cursor.execute("SELECT ? AS one, ? AS two", d.pair).fetchone()
    return [row[name] for name in d.row_names], row.keys(), tuple(row) == d.pair


@rounds
def test_functions_and_collations(d):
    database().create_function("limit_of", 1, d.limits.get)
    database().create_collation("by_rank", lambda a, b: d.ranks[a] - d.ranks[b])
    return (
        run("SELECT limit_of('soft'), limit_of('none')"),
        run("SELECT column1 FROM (VALUES ('pear'), ('fig')) ORDER BY column1 COLLATE by_rank"),
    )


@rounds
def test_adapted_instances(d):
    return (
        run("SELECT ?, ?, ?", d.point),
        run("SELECT ?", (d.day.isoformat(),)),
        run("SELECT ?", (str(d.uid),)),
    )
