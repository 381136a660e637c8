//! Tests of the supervisor: real messages over socket pairs, a real ledger, the real control socket.
