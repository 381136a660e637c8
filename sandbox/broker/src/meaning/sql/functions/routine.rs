//! Routines that were looked up at the server: what a call does is what their definitions say, whichever of the same name it may be.

use std::collections::BTreeMap;

use agentbox_core::{Effect, Operation};

use super::{block, body, tells_of_loss};
use crate::meaning::sql::{
    Dialect,
    judge::{Entered, Judge},
    name,
    name::Name,
    session,
};

/// Longest body that is read, in bytes.
pub(crate) const LONGEST_BODY: usize = 64 << 10;

/// What a routine runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    /// Statements.
    Sql(Vec<u8>),
    /// The whole `CREATE FUNCTION` of one whose body is not kept as a text.
    Definition(Vec<u8>),
    /// A block of PL/pgSQL.
    Block(Vec<u8>),
    /// Not read. Somebody whose rights the session does not have says that it changes nothing, and it takes no text that it could run.
    Vouched,
    /// Not read, and why.
    Unread(&'static str),
}

/// One routine of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Routine {
    pub(crate) schema: String,
    pub(crate) code: Code,
    /// Where its names are looked up, if it says so itself: as it stands behind `SET search_path TO`.
    pub(crate) path: Option<String>,
    /// The mode that its text is read in, where the server keeps one with it (MySQL's `sql_mode`).
    pub(crate) mode: Option<String>,
}

/// Everything that was looked up, by the name in lower case. A name with nothing behind it is one that the server does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Routines(BTreeMap<String, Vec<Routine>>);

impl Routines {
    /// The server was asked about this name.
    pub(crate) fn asked(&mut self, key: &str) {
        self.0.entry(key.to_owned()).or_default();
    }

    /// The server has this routine.
    pub(crate) fn add(&mut self, key: &str, routine: Routine) {
        self.0.entry(key.to_owned()).or_default().push(routine);
    }

    /// How many names were asked about.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that a call of this name could mean; `None` where nobody asked.
    fn of(&self, key: &str, name: &Name) -> Option<Vec<(usize, Routine)>> {
        let all = self.0.get(key)?.iter().enumerate();
        Some(all.filter(|(_, routine)| name.qualifier().is_none_or(|schema| schema == routine.schema)).map(|(at, routine)| (at, routine.clone())).collect())
    }
}

/// How bad a call is of what cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::meaning::sql) enum Unread {
    /// A function in a query: a write, unless its name tells of a loss.
    ByName,
    /// A procedure: opaque.
    Opaque,
}

/// Says what a call does by what was looked up; `false` where nothing was, which is noted.
pub(in crate::meaning::sql) fn judge(judge: &mut Judge<'_>, key: &str, name: &Name, unread: Unread) -> bool {
    // Of MySQL's what was looked up only makes a call stricter, and procedures stay opaque.
    let is_mysql = judge.dialect == Dialect::MySql && unread == Unread::ByName;
    if judge.dialect != Dialect::PostgreSql && !is_mysql {
        return false;
    }
    let Some(found) = judge.said.routines().map(|routines| routines.of(key, name)) else { return false };
    let Some(found) = found else {
        judge.wonder(key);
        return false;
    };
    if found.is_empty() {
        return false;
    }
    for (at, routine) in &found {
        one(judge, key, name, (*at, routine), unread);
    }
    if is_mysql {
        return false;
    }
    judge.lean(name::resource(judge.dialect, "function", name, &judge.said));
    true
}

fn one(judge: &mut Judge<'_>, key: &str, name: &Name, (at, routine): (usize, &Routine), unread: Unread) {
    let unread = |judge: &mut Judge<'_>, why: &str| {
        let effect = if unread == Unread::Opaque || tells_of_loss(key) { Effect::Opaque } else { Effect::Write };
        judge.add(effect, "call", "function", name, why);
    };
    let read: &dyn Fn(&mut Judge<'_>) = match &routine.code {
        Code::Vouched => return,
        Code::Unread(why) => return unread(judge, why),
        Code::Sql(text) => &|judge| judge.text(text),
        Code::Definition(text) => &|judge| body(judge, text),
        Code::Block(text) => &|judge| block(judge, text),
    };
    // Each body is read once for each place that its names could mean: routines that call each other end there.
    match judge.enters(format!("{key} {at} {:?}", judge.said.search_path)) {
        Entered::Now => {}
        Entered::Before => return,
        Entered::TooMany => return unread(judge, "one of more functions than are read"),
    }
    let before = judge.said.clone();
    if let Some(path) = &routine.path {
        judge.said.to_mut().search_path = session::path(judge.dialect, path);
    }
    if let Some(mode) = &routine.mode {
        // Its names are of the database that it lies in.
        let said = judge.said.to_mut();
        said.set("sql_mode", mode);
        said.database = Some(routine.schema.clone());
    }
    let inside = judge.apart(|judge| read(judge));
    judge.said = before;
    let mut is_unclear = false;
    for operation in inside {
        match operation.action.as_str() {
            super::super::UNCLEAR => is_unclear = true,
            // Steering, within the routine alone.
            "postgres.block" | "postgres.do" if operation.effect == Effect::Write => {}
            _ => judge.also(Operation { reason: format!("{} (in the function {key})", operation.reason), ..operation }),
        }
    }
    if is_unclear {
        unread(judge, "a function that does what cannot be read");
    }
}
