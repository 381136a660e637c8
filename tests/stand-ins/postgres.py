"""Speaks PostgreSQL's protocol by hand, in ways that no driver does: each trick tries to empty the table t of the database shop."""
import socket, struct, sys


class Session:
    def __init__(self, parameters=()):
        self.wire = socket.create_connection(("db.example", 5432), timeout=40)
        body = struct.pack(">I", 196608)
        for name, value in [("user", "tricky"), ("database", "shop"), *parameters]:
            body += name.encode() + b"\0" + value.encode() + b"\0"
        body += b"\0"
        self.wire.sendall(struct.pack(">I", len(body) + 4) + body)
        self.until(b"Z")

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.wire.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def message(self):
        kind = self.read(1)
        return kind, self.read(struct.unpack(">I", self.read(4))[0] - 4)

    def until(self, *kinds):
        heard = []
        while True:
            kind, body = self.message()
            heard.append((kind, body))
            if kind in kinds:
                return heard

    def send(self, *messages):
        self.wire.sendall(b"".join(kind + struct.pack(">I", len(body) + 4) + body for kind, body in messages))


def text(value):
    return value.encode() if isinstance(value, str) else value


def Q(sql):
    return b"Q", text(sql) + b"\0"


def P(name, sql):
    return b"P", text(name) + b"\0" + text(sql) + b"\0" + struct.pack(">H", 0)


def B(portal, name, values=()):
    body = text(portal) + b"\0" + text(name) + b"\0" + struct.pack(">HH", 0, len(values))
    for value in values:
        body += struct.pack(">I", len(value)) + value
    return b"B", body + struct.pack(">H", 0)


def E(portal):
    return b"E", text(portal) + b"\0" + struct.pack(">I", 0)


def C(what, name):
    return b"C", text(what) + text(name) + b"\0"


S = (b"S", b"")
H = (b"H", b"")


def errors(heard):
    return [body for kind, body in heard if kind == b"E"]


# Each gives the session and how many ReadyForQuery it still expects.
def skipped_unnamed(db):
    "the unnamed statement stays the old one where the new one is skipped"
    db.send(P("", "DELETE FROM t"), S)
    db.until(b"Z")
    db.send(B("", "nothing"), P("", "SELECT 1"), S, B("", ""), E(""), S)
    db.until(b"Z"), db.until(b"Z")


def skipped_portal(db):
    "a portal stays the old one where the new one is skipped"
    db.send(Q("BEGIN"))
    db.until(b"Z")
    db.send(P("a", "PREPARE x AS DELETE FROM t"), P("b", "PREPARE x AS SELECT 1"), B("", "a"), S)
    db.until(b"Z")
    db.send(B("p", "nothing"), B("", "b"), S)
    db.until(b"Z")
    db.send(E(""), S, Q("EXECUTE x"), Q("COMMIT"))
    db.until(b"Z"), db.until(b"Z"), db.until(b"Z")


def prepared_by_sql(db):
    "a name of the protocol is given to another statement by SQL"
    db.send(P("x", "SELECT 1"), S)
    db.until(b"Z")
    db.send(Q("DEALLOCATE x; PREPARE x AS DELETE FROM t"))
    db.until(b"Z")
    db.send(B("", "x"), E(""), S)
    db.until(b"Z")


def prepared_by_sql_that_fails(db):
    "prepared statements are not rolled back"
    db.send(Q("PREPARE x AS SELECT 1"), Q("DEALLOCATE x; PREPARE x AS DELETE FROM t; SELECT 1/0"), Q("EXECUTE x"))
    db.until(b"Z"), db.until(b"Z"), db.until(b"Z")
    db.send(Q("EXECUTE x"))
    db.until(b"Z")


def prepared_by_both(db):
    "the protocol's answer comes when SQL has changed the name again"
    db.send(P("x", "SELECT 1"), S, Q("DEALLOCATE x; PREPARE x AS DELETE FROM t; SELECT 1/0"), B("", "x"), E(""), S)
    db.until(b"Z"), db.until(b"Z"), db.until(b"Z")
    db.send(B("", "x"), E(""), S)
    db.until(b"Z")


def prepared_in_a_block(db):
    "a block prepares where nobody looks"
    db.send(Q("PREPARE x AS SELECT 1"))
    db.until(b"Z")
    db.send(Q("DO $$ BEGIN EXECUTE 'DEALLOCATE x'; EXECUTE 'PREPARE x AS DELETE FROM t'; END $$"))
    db.until(b"Z")
    db.send(Q("EXECUTE x"))
    db.until(b"Z")


def backslashes(db):
    "a setting on its way changes how strings end"
    db.send(Q("SET standard_conforming_strings = off"), Q("SELECT 'a\\', '; DELETE FROM t; --'"))
    db.until(b"Z"), db.until(b"Z")
    db.send(Q("SELECT 'a\\', '; DELETE FROM t; --'"))
    db.until(b"Z")


def encodings(db):
    "in some encodings a backslash is the second half of a letter"
    db.send(Q("SET client_encoding = 'SJIS'; SET standard_conforming_strings = off"), Q(b"SELECT '\x95\\', '; DELETE FROM t; --'"))
    db.until(b"Z"), db.until(b"Z")
    db.send(Q(b"SELECT '\x95\\'; DELETE FROM t; --'"))
    db.until(b"Z")


def long_names(db):
    "the server cuts names at 63 bytes"
    long = "n" * 63
    db.send(P(long + "a", "SELECT 1"), S)
    db.until(b"Z")


def a_query_behind_an_error(db):
    "the server skips it, and what follows is another's answer"
    db.send(B("", "nothing"), Q("SELECT 1"), S, Q("DELETE FROM t"))
    db.until(b"Z"), db.until(b"Z")


def within_a_copy(db):
    "while it waits for rows the server reads messages in another way"
    db.send(Q("COPY t FROM STDIN"), Q("SELECT 1"))
    db.until(b"G")
    db.until(b"Z")


def sync_within_a_copy(db):
    "while it waits for rows the server drops Sync"
    db.send(P("", "COPY t FROM STDIN"), B("", ""), E(""), S, S, S)
    db.until(b"G")
    db.send((b"f", b"no\0"), S, P("", "DELETE FROM t"), B("", ""), E(""), S)
    db.until(b"Z"), db.until(b"Z")


def many_values(db):
    "a statement with more values than are gathered"
    db.send(P("d", "DELETE FROM t WHERE name <> $1"), S)
    db.until(b"Z")
    db.send(B("", "d", [b"x" * (17 << 20)]), E(""), S)
    db.until(b"Z")


def a_long_text(db):
    "a text that is longer than what is read"
    db.send(Q("DELETE FROM t" + " " * (17 << 20)))
    db.until(b"Z")


def a_function_by_number(db):
    "lo_unlink, and a function whose number is not known"
    for number in (964, 2108):
        db.send((b"F", struct.pack(">IHHHI", number, 1, 1, 1, 4) + struct.pack(">IH", 4712, 1)))
        assert errors(db.until(b"Z"))


def a_path_in_the_same_batch(db):
    "names are looked up elsewhere before anybody hears of it"
    db.send(P("", "SET search_path = other"), B("", ""), E(""), P("", "DELETE FROM t"), B("", ""), E(""), S)
    db.until(b"Z")


def two_texts(db):
    "a second text behind the first one's end"
    db.send((b"Q", b"SELECT 1\0DELETE FROM t\0"))
    db.until(b"Z")


def other_letters(db):
    "a message of another protocol"
    db.send((b"p", b"x\0"), Q("DELETE FROM t"))
    db.until(b"Z")


TRICKS = [
    skipped_unnamed, skipped_portal, prepared_by_sql, prepared_by_sql_that_fails, prepared_by_both, prepared_in_a_block, backslashes, encodings, long_names,
    a_query_behind_an_error, within_a_copy, sync_within_a_copy, many_values, a_long_text, a_function_by_number, a_path_in_the_same_batch, two_texts, other_letters,
]
for trick in TRICKS:
    db = Session()
    try:
        trick(db)
        db.send(Q("SELECT count(*) FROM t"))
        rows = [body[6:].decode() for kind, body in db.until(b"Z") if kind == b"D"]
        print(trick.__name__, "goes on with" if rows else "fails on", *rows)
    except (EOFError, OSError) as error:
        print(trick.__name__, "ended" if isinstance(error, (EOFError, ConnectionError)) else f"hangs: {error}")
    sys.stdout.flush()
