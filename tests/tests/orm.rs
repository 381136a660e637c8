//! Object-relational mappers on a real PostgreSQL, through a box: ordinary work passes, a migration that drops waits, and the session goes on.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use agentbox_tests::{Database, Home, skip};

/// Python with what `cargo xtask tools` brings by pip.
const PYTHON: &str = "/usr/local/lib/agentbox-tools/bin/python3";

const SQLALCHEMY: &str = r#"
import os
from sqlalchemy import ForeignKey, create_engine, func, inspect, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

class Base(DeclarativeBase):
    pass

class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    total: Mapped[int] = mapped_column(default=0)
    customer: Mapped[Customer] = relationship(back_populates="orders")

engine = create_engine(f"postgresql+psycopg://agent:{os.environ['PGPASSWORD'].replace(' ', '%20')}@db.example:5432/shop", pool_size=1, max_overflow=0)
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all([Customer(name=f"c{n}", orders=[Order(total=n), Order(total=2 * n)]) for n in range(50)])
    session.commit()
    first = session.scalars(select(Customer).where(Customer.name == "c7").options(selectinload(Customer.orders))).one()
    print("loaded", first.name, sorted(order.total for order in first.orders), flush=True)
    first.orders[0].total = 100
    session.commit()
    with session.begin_nested():
        session.execute(text("UPDATE orders SET total = total + 1 WHERE id = :id"), {"id": 1})
    session.commit()
    print("sum", session.scalar(select(func.sum(Order.total))) > 0, inspect(session.connection()).get_table_names(), flush=True)
with engine.connect() as connection:
    print("pid", connection.scalar(text("SELECT pg_backend_pid()")), flush=True)
    connection.commit()
    for attempt in ("denied", "approved"):
        try:
            with connection.begin():
                connection.execute(text("DROP TABLE orders"))
            print(attempt, "dropped", flush=True)
        except ProgrammingError as error:
            print(attempt, type(error.orig).__name__, str(error.orig).splitlines()[0], flush=True)
        print("still", connection.scalar(text("SELECT count(*) FROM customers")), "pid", connection.scalar(text("SELECT pg_backend_pid()")), flush=True)
        connection.commit()
print("end", flush=True)
"#;

fn approve(home: &Home, held: &str) {
    home.outside(&["approve", held, "--confirm", "yes"]).ended(0);
}

#[test]
fn sqlalchemy() {
    let there = std::process::Command::new(PYTHON).args(["-c", "import sqlalchemy, psycopg"]).stderr(std::process::Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip::skip("not installed: SQLAlchemy, psycopg of pip");
    }
    let Some(server) = Database::start() else { return };
    let home = Home::new(&server.policy(""));
    home.write("work/shop.py", SQLALCHEMY);
    let going = home.start(&format!("{}{PYTHON} shop.py 2>&1", Database::client("shop")));
    let mut seen = BTreeSet::new();
    let first = home.another_hold(&mut seen);
    let card = home.outside(&["show", &first]).ended(0).out();
    assert!(card.contains("postgres.drop") && card.contains("orders"), "{card}");
    home.outside(&["deny", &first, "--because", "the shop is open"]).ended(0);
    approve(&home, &home.another_hold(&mut seen));
    let out = going.finish().ended(0).out();
    for words in ["loaded c7 [7, 14]", "sum True ['customers', 'orders']", "denied InsufficientPrivilege", "the shop is open", "approved dropped", "end"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let pids: Vec<&str> = out.lines().filter_map(|line| line.rsplit_once("pid ").map(|(_, pid)| pid)).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| *pid == pids[0]), "one session throughout: {out}");
    assert_eq!(server.tells("shop", "SELECT to_regclass('orders') IS NULL, count(*) FROM customers"), "t|50");
}

/// Two versions of a schema: the second leaves a table out.
const BEFORE: &str = "import { pgTable, serial, text, integer } from 'drizzle-orm/pg-core';\n\
export const customers = pgTable('customers', { id: serial('id').primaryKey(), name: text('name').notNull() });\n\
export const orders = pgTable('orders', { id: serial('id').primaryKey(), total: integer('total').notNull().default(0) });\n";
const AFTER: &str = "import { pgTable, serial, text } from 'drizzle-orm/pg-core';\n\
export const customers = pgTable('customers', { id: serial('id').primaryKey(), name: text('name').notNull(), email: text('email') });\n";

#[test]
fn drizzle_kit_push() {
    if !skip::have(&["drizzle-kit", "node", "npm"]) {
        return;
    }
    let Some(server) = Database::start() else { return };
    let home = Home::new(&server.policy(""));
    home.write("work/before.ts", BEFORE);
    home.write("work/after.ts", AFTER);
    home.write(
        "work/drizzle.config.ts",
        "export default { dialect: 'postgresql', schema: process.env.SCHEMA, dbCredentials: { host: 'db.example', port: 5432, user: 'agent', \
         password: process.env.PGPASSWORD, database: 'shop', ssl: false } };\n",
    );
    home.write("work/package.json", "{\"name\":\"shop\",\"private\":true}\n");
    // As a project has them: beside its sources.
    let going = home.start(&format!(
        "{}mkdir node_modules; for name in drizzle-orm drizzle-kit pg; do ln -s $(npm root -g)/$name node_modules/; done; export SCHEMA=./before.ts; drizzle-kit push --force 2>&1; \
         psql -X -q -c \"INSERT INTO orders(total) VALUES (3)\"; export SCHEMA=./after.ts; drizzle-kit push --force 2>&1; \
         psql -X -A -t -c 'SELECT total FROM orders'; drizzle-kit push --force 2>&1; echo end",
        Database::client("shop")
    ));
    let mut seen = BTreeSet::new();
    let first = home.another_hold(&mut seen);
    let card = home.outside(&["show", &first]).ended(0).out();
    assert!(card.contains("postgres.drop") && card.contains("orders"), "{card}");
    home.outside(&["deny", &first, "--because", "the shop is open"]).ended(0);
    approve(&home, &home.another_hold(&mut seen));
    let out = going.finish().ended(0).out();
    assert!(out.contains("error: agentbox: refused") && out.contains("the shop is open"), "the push says why: {out}");
    assert!(out.contains("\n3\n"), "the table is there still: {out}");
    assert_eq!(out.matches("Changes applied").count(), 2, "the first push, and the one that was approved: {out}");
    assert!(out.ends_with("end\n"), "{out}");
    assert_eq!(server.tells("shop", "SELECT to_regclass('orders') IS NULL, count(*) FROM information_schema.columns WHERE table_name = 'customers'"), "t|3");
}
