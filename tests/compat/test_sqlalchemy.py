"""SQLAlchemy: statements built from frozen data, run on SQLite with frozen parameters.

Its statements take from 50 us to some milliseconds; each round reads at least 12 frozen objects.
"""

import datetime as dt
import decimal
import functools
import uuid
import warnings

import pytest
from _data import Limit
from _rounds import rounds

sa = pytest.importorskip("sqlalchemy")
from sqlalchemy import orm  # noqa: E402

METADATA = sa.MetaData()
TABLE = sa.Table(
    "record",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String),
    sa.Column("score", sa.Float),
    sa.Column("city", sa.String),
)
EXTRA = sa.Table(
    "extra",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("config", sa.JSON),
    sa.Column("data", sa.LargeBinary),
    sa.Column("pickled", sa.PickleType),
)


class Base(orm.DeclarativeBase):
    metadata = METADATA


class Record(Base):
    __table__ = TABLE


@functools.cache
def engine():
    """Made in the child: a connection must not be carried over a fork."""
    made = sa.create_engine("sqlite://")
    METADATA.create_all(made)
    return made


statements = rounds(count=2_000)


@statements
def test_insert_and_select(d):
    with engine().begin() as connection:
        connection.execute(TABLE.delete())
        connection.execute(TABLE.insert(), d.records)
        rows = connection.execute(sa.select(TABLE).order_by(TABLE.c.id))
        return [row._asdict() for row in rows]


@statements
def test_values_and_update(d):
    with engine().begin() as connection:
        connection.execute(TABLE.delete())
        connection.execute(TABLE.insert().values(d.records[0]))
        connection.execute(TABLE.insert().values(d.records[1:]))
        connection.execute(TABLE.update().where(TABLE.c.id == 1001).values(**d.update))
        return connection.execute(sa.select(TABLE.c.name, TABLE.c.score)).all()


@statements
def test_text_with_parameters(d):
    with engine().connect() as connection:
        return (
            connection.execute(sa.text("SELECT :one, :stadt, :two"), d.strings).one()._tuple(),
            connection.exec_driver_sql("SELECT ?, ?, ?", d.rows[2]).one()._tuple(),
            connection.scalar(sa.text(d.statement)),
        )


@statements
def test_in(d):
    with engine().begin() as connection:
        connection.execute(TABLE.delete())
        connection.execute(TABLE.insert(), [{"id": 5}, {"id": 6}, {"id": 300, "name": "red"}])
        return (
            connection.scalars(sa.select(TABLE.c.id).where(TABLE.c.id.in_(d.numbers))).all(),
            connection.scalars(sa.select(TABLE.c.id).where(TABLE.c.name.in_(d.tags))).all(),
        )


@statements
def test_json_and_binary_columns(d):
    with engine().begin() as connection:
        connection.execute(EXTRA.delete())
        connection.execute(EXTRA.insert().values(id=1, config=d.config, data=d.blob))
        connection.execute(EXTRA.insert().values(id=2, config=d.matrix, data=d.key))
        return [tuple(row) for row in connection.execute(EXTRA.select().order_by(EXTRA.c.id))]


@statements
def test_pickled_columns(d):
    with engine().begin() as connection:
        connection.execute(EXTRA.delete())
        connection.execute(EXTRA.insert().values(id=1, pickled=d.config))
        back = connection.scalar(sa.select(EXTRA.c.pickled))
        return back, type(back) is dict


@statements
def test_orm(d):
    with orm.Session(engine()) as session:
        session.query(Record).delete()
        session.add_all(Record(**record) for record in d.records)
        session.flush()
        found = session.scalars(sa.select(Record).filter_by(**d.records[2])).one()
        found.name = d.latin
        session.flush()
        names = session.scalars(sa.select(Record.name).order_by(Record.id)).all()
        session.rollback()
        return names


@statements
def test_bulk(d):
    with orm.Session(engine()) as session:
        session.query(Record).delete()
        session.execute(sa.insert(Record), d.records)
        session.execute(sa.update(Record), d.updates)
        return session.scalars(sa.select(Record.city).order_by(Record.id)).all()


@statements
def test_compiled_parameters(d):
    compiled = TABLE.insert().values(d.records[0]).compile()
    literal = sa.select(sa.literal(d.latin)).compile(compile_kwargs={"literal_binds": True})
    return compiled.params, str(literal), sa.engine.URL.create("sqlite", query=d.strings).query


@statements
def test_case_and_options(d):
    case = sa.case(d.strings, value=TABLE.c.name, else_=d.latin)
    return sorted(case.compile().params.values()), sa.select(TABLE).execution_options(
        **d.limits
    ).get_execution_options()["soft"]


class Base2(orm.DeclarativeBase):
    metadata = sa.MetaData()


class Order(Base2):
    __tablename__ = "orders"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    limit: orm.Mapped[Limit] = orm.composite(
        orm.mapped_column("soft"), orm.mapped_column("hard", sa.BigInteger)
    )
    when: orm.Mapped[dt.datetime]
    day: orm.Mapped[dt.date]
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(10, 2))
    uid: orm.Mapped[uuid.UUID]


@statements
def test_dates_and_composites(d):
    if not sa.inspect(engine()).has_table("orders"):
        Base2.metadata.create_all(engine())
    with orm.Session(engine()) as session, warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # SQLite has no Decimal of its own
        session.query(Order).delete()
        session.add(Order(id=1, limit=d.limit, when=d.naive, day=d.day, price=d.price, uid=d.uid))
        session.flush()
        session.expire_all()
        found = session.scalars(sa.select(Order).filter_by(uid=d.uid, limit=d.limit)).one()
        result = (found.limit, found.when, found.day, found.price, found.uid)
        session.rollback()
        return result
