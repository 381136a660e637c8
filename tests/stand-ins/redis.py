"""A client that speaks Redis's protocol by hand, in ways that no driver does. Nothing of it may destroy anything in database 0."""
import socket

def connect():
    stream = socket.create_connection(("db.example", 6379), timeout=20)
    stream.settimeout(20)
    return stream

def command(*words):
    words = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

def say(stream, data, enough):
    """Sends all of it, and reads until `enough` lines have come, or the end."""
    stream.sendall(data)
    got = b""
    while got.count(b"\n") < enough:
        try:
            more = stream.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            return got, True
        got += more
    return got, False

def trick(name, data, enough, alive=True):
    stream = connect()
    try:
        got, ended = say(stream, data, enough)
        if not ended and alive:
            got, ended = say(stream, command("ECHO", "still here"), 2)
            if not ended and b"still here" not in got:
                print(name, "fails", got)
                return
        print(name, "ended" if ended else "goes on")
    except socket.timeout:
        print(name, "hangs")

# A transaction that the server does not open, so that what follows is done at once.
trick("multi_with_words", command("MULTI", "x") + command("FLUSHALL") + command("EXEC"), 3)
trick("nested", command("MULTI") + command("MULTI") + command("DEL", "kept:1") + command("EXEC"), 4)
trick("exec_with_words", command("MULTI") + command("DEL", "kept:1") + command("EXEC", "x") + command("EXEC"), 4)
trick("discarded_too_soon", command("MULTI") + command("DISCARD") + command("DEL", "kept:2") + command("MULTI") + command("DEL", "kept:2") + command("EXEC"), 6)
# The selection fails, so that what follows is done in database 0.
trick("select_nowhere", command("SELECT", "99") + command("FLUSHDB"), 2)
trick("select_in_a_transaction", command("SELECT", "1") + command("MULTI") + command("SELECT", "0") + command("FLUSHDB") + command("EXEC"), 5)
trick("select_undone", command("SELECT", "1") + command("RESET") + command("FLUSHDB"), 3)
trick("swap", command("SELECT", "1") + command("SWAPDB", "0", "1"), 2)
# Without answers a refusal would have no place.
trick("no_answers", command("CLIENT", "REPLY", "OFF") + command("FLUSHALL"), 2)
trick("replication", command("PSYNC", "?", "-1") + command("REPLICAOF", "127.0.0.1", "1"), 2)
# What the server reads otherwise than a strict reader.
trick("lax_ends", b"*1\rX$8\rXFLUSHALL\rX\r\n", 2)
trick("lax_lengths", b"*01\r\n$08\r\nFLUSHALL\r\n", 2)
trick("negative", b"*-1\r\n*1\r\n$8\r\nFLUSHALL\r\n", 2)
trick("inline", b"\"FLUSH\\x41LL\"\r\n'DEL' kept:3\r\n", 2)
trick("many_keys", command("SELECT", "1") + command("DEL", *["x%d" % number for number in range(100)]), 2)
# Code, and what the server would run.
trick("scripts", command("EVAL", "return redis.call('FLUSH'..'ALL')", "0") + command("SCRIPT", "LOAD", "return redis.call('DEL', 'kept:4')")
      + command("EVALSHA", "5bdc4a2dd3b7aa0d11dcbc4ad8f6a2b1d1a1f0c3", "0") + command("MODULE", "LOAD", "/tmp/x.so"), 5)
trick("functions", command("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() return redis.call('FLUSHALL') end)\n")
      + command("FCALL", "f", "0") + command("FUNCTION", "DELETE", "x"), 4, alive=False)
trick("after_monitor", command("MONITOR") + command("FLUSHALL"), 3)
