//! The function calls of the old protocol, by number: large objects, which libpq and pg_dump reach in no other way. All others are opaque.

use agentbox_core::{Effect, Operation, Resource};

/// Number, name, effect, why (pg_proc.dat of PostgreSQL 15 to 18; these numbers have been the same since 1996, the later ones since 9.3).
const FUNCTIONS: &[(u32, &str, Effect, &str)] = &[
    (715, "lo_create", Effect::Write, "makes a large object"),
    (952, "lo_open", Effect::Read, "opens a large object"),
    (953, "lo_close", Effect::Read, "closes a large object"),
    (954, "loread", Effect::Read, "reads a large object"),
    (955, "lowrite", Effect::Destroy, "writes over a large object"),
    (956, "lo_lseek", Effect::Read, "moves in a large object"),
    (957, "lo_creat", Effect::Write, "makes a large object"),
    (958, "lo_tell", Effect::Read, "asks for a place in a large object"),
    (964, "lo_unlink", Effect::Destroy, "deletes a large object"),
    (1004, "lo_truncate", Effect::Destroy, "cuts a large object short"),
    (3170, "lo_lseek64", Effect::Read, "moves in a large object"),
    (3171, "lo_tell64", Effect::Read, "asks for a place in a large object"),
    (3172, "lo_truncate64", Effect::Destroy, "cuts a large object short"),
];

/// What a call of this function is, and its name.
pub(super) fn call(number: u32, database: Resource) -> (Operation, String) {
    match FUNCTIONS.iter().find(|(known, ..)| *known == number) {
        Some((_, name, effect, why)) => (Operation::new(*effect, &format!("postgres.{name}"), database, *why), format!("a call of {name}")),
        None => {
            let why = "it calls a function by its number";
            (Operation::new(Effect::Opaque, "postgres.call", database, why), format!("a call of the function with number {number}"))
        }
    }
}
