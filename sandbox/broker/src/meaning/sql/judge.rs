//! Every statement of a text, one after the other, and what was found of them.

use std::{borrow::Cow, collections::BTreeSet};

use agentbox_core::{Delegation, Effect, Operation, Resource};

use super::{
    Considered, Dialect, Said, block, change, define, dynamic,
    lexer::{self, Kind, Lexed, Unread},
    lexis::{Lexis, OLDEST_MYSQL, Versions},
    name::{self, Name},
    part::Part,
    query, server, session,
};

/// Most operations that are listed one by one. Further ones are told in sum.
const MOST_OPERATIONS: usize = 200;

/// How deep a text may lie in a text: a prepared statement that executes a string that calls a function.
const MOST_TEXTS: usize = 6;

/// Most statements that are judged for one text, with all that lies in it.
const MOST_STATEMENTS: usize = 50_000;

/// Most tokens that are gone over for one text: each some times, but not each with each.
pub(super) const MOST_WORK: usize = 8 * lexer::MOST_TOKENS;

/// Whether a routine's body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    Now,
    Before,
    TooMany,
}

/// What is judged, and what was found.
pub(super) struct Judge<'s> {
    pub(super) dialect: Dialect,
    pub(super) said: Cow<'s, Said>,
    found: Vec<Operation>,
    depth: usize,
    statements: usize,
    overflow: Option<Effect>,
    /// Whether the statement at hand was said to do anything.
    touched: bool,
    /// Tokens that were gone over, those of overlapping pieces again.
    work: usize,
    /// It stands in a block of PL/pgSQL, where INTO names a variable.
    pub(super) is_block: bool,
    leaned: Vec<Operation>,
    wondered: BTreeSet<String>,
    /// Routines whose bodies were read for this text.
    entered: BTreeSet<String>,
}

impl<'s> Judge<'s> {
    pub(super) fn new(dialect: Dialect, said: &'s Said) -> Self {
        Self {
            dialect,
            said: Cow::Borrowed(said),
            found: Vec::new(),
            depth: 0,
            statements: 0,
            overflow: None,
            touched: false,
            work: 0,
            is_block: false,
            leaned: Vec::new(),
            wondered: BTreeSet::new(),
            entered: BTreeSet::new(),
        }
    }

    /// What was found, and what that leans on.
    pub(super) fn considered(mut self) -> Considered {
        let (leaned, wondered) = (std::mem::take(&mut self.leaned), std::mem::take(&mut self.wondered));
        Considered { operations: self.finish(), leaned, wondered }
    }

    /// What was found; never empty.
    pub(super) fn finish(mut self) -> Vec<Operation> {
        if let Some(effect) = self.overflow {
            let action = self.action("more");
            self.found.push(Operation::new(effect, &action, name::database(self.dialect, &self.said), "the text does more than is listed"));
        }
        if self.found.is_empty() {
            let action = self.action("nothing");
            self.found.push(Operation::new(Effect::Read, &action, name::database(self.dialect, &self.said), "the text has no statement"));
        }
        self.found
    }

    /// All statements of `text`, in every way that the server could read it.
    pub(super) fn text(&mut self, text: &[u8]) {
        if text.len() > super::LONGEST_TEXT {
            return self.unclear("the text is longer than is read");
        }
        if self.depth >= MOST_TEXTS {
            return self.unclear("a statement lies deeper in statements than is read");
        }
        if !text.is_ascii() && !self.said.is_readable(self.dialect, text) {
            return self.unclear("the text is in an encoding that is not read");
        }
        self.depth += 1;
        let is_block = std::mem::replace(&mut self.is_block, false);
        let mut failed = None;
        let mut read = false;
        for lexis in Lexis::all(self.dialect, text, &self.said) {
            match self.reading(text, lexis) {
                Ok(()) => read = true,
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        self.depth -= 1;
        self.is_block = is_block;
        match failed {
            // What does not end in one reading, the server refuses if it reads so; in another it was judged.
            Some(Unread::Open | Unread::Unpaired) if read => {}
            // The whole text is parsed before anything of it is done (postgres.c, exec_simple_query).
            Some(Unread::Open) if self.dialect == Dialect::PostgreSql => {
                self.add_here(Effect::Read, "refused", "a string, a name or a comment does not end: the server refuses the text");
            }
            Some(why) => self.unclear(why.to_string()),
            None => {}
        }
    }

    fn reading(&mut self, text: &[u8], lexis: Lexis) -> Result<(), Unread> {
        let lexed = lexer::lex(text, lexis)?;
        self.lexed(text, &lexed);
        // MySQL's version comments: once more for each server that would read fewer of them.
        for index in 0..lexed.versions.len() {
            let newest = index.checked_sub(1).and_then(|before| lexed.versions.get(before)).copied().unwrap_or(OLDEST_MYSQL);
            match lexer::lex(text, Lexis { versions: Versions::UpTo(newest), ..lexis }) {
                Ok(older) => self.lexed(text, &older),
                Err(Unread::Open | Unread::Unpaired) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn lexed(&mut self, text: &[u8], lexed: &Lexed) {
        for (from, to) in &lexed.hints {
            session::hint(self, text.get(*from as usize..*to as usize).unwrap_or_default());
        }
        self.statements(Part::new(text, &lexed.tokens));
    }

    /// The statements of `part`, with `;` between them.
    pub(super) fn statements(&mut self, part: Part<'_>) {
        let mut from = 0;
        // Each turn takes at least one token.
        while from < part.len() {
            let rest = part.from(from);
            let length = block::length(&rest, self.dialect, &mut self.work);
            let statement = rest.slice(0, length);
            from += length + 1;
            if statement.is_empty() {
                continue;
            }
            self.statement(statement);
            if from < part.len() {
                let dialect = self.dialect;
                if session::may_teach(&statement) {
                    session::observe(self.said.to_mut(), dialect, &statement);
                }
                if self.said.has_variables() {
                    session::pass(self.said.to_mut(), dialect, &statement);
                }
            }
        }
    }

    /// One statement.
    pub(super) fn statement(&mut self, part: Part<'_>) {
        self.statements += 1;
        if self.statements > MOST_STATEMENTS {
            return self.unclear("the text has more statements than are read");
        }
        if !self.may_spend(part.len()) {
            return;
        }
        if self.dialect == Dialect::MsSql {
            // Transact-SQL needs nothing between two statements.
            for piece in block::transact(part) {
                self.one(piece);
            }
        } else {
            self.one(part);
        }
    }

    fn one(&mut self, part: Part<'_>) {
        self.touched = false;
        self.dispatch(part);
        if !self.touched {
            self.unclear("what it does is not told by it");
        }
    }

    /// By the first word; each room says whether the statement is its own.
    fn dispatch(&mut self, part: Part<'_>) {
        let Some(word) = part.word(0) else {
            return match part.kind(0) {
                Some(Kind::Mark) if part.is_mark(0, "(") => query::judge(self, part),
                // ODBC's `{call f}`, which drivers should have taken off.
                Some(Kind::Mark) if part.is_mark(0, "{") => self.statement(part.inside(0)),
                // Oracle's and MySQL's labels: `<<name>> BEGIN …`.
                Some(Kind::Mark) if part.is_mark(0, "<") => block::judge(self, part),
                _ => self.unclear("it does not begin with a word"),
            };
        };
        let mut buffer = [0u8; 32];
        let Some(verb) = lower(word, &mut buffer) else { return self.unclear("its first word is not known") };
        let known = query::statement(self, verb, part)
            || change::statement(self, verb, part)
            || define::statement(self, verb, part)
            || session::statement(self, verb, part)
            || dynamic::statement(self, verb, part)
            || block::statement(self, verb, part)
            || server::statement(self, verb, part);
        if !known {
            self.unclear(format!("what `{verb}` does is not known"));
        }
    }

    /// Whether there is patience left to go over so many tokens; if not, the text is unclear.
    pub(super) fn may_spend(&mut self, tokens: usize) -> bool {
        self.work = self.work.saturating_add(tokens);
        let may = self.work <= MOST_WORK;
        if !may {
            self.unclear("the text is more entangled than is followed");
        }
        may
    }

    /// The name of an action of this dialect.
    pub(super) fn action(&self, verb: &str) -> String {
        format!("{}.{verb}", self.dialect.scheme())
    }

    /// An operation on the database as a whole, or on what the statement does not name.
    pub(super) fn add_here(&mut self, effect: Effect, verb: &str, why: &str) {
        let resource = name::database(self.dialect, &self.said);
        self.push(effect, verb, resource, why, None);
    }

    /// An operation on a thing with a name.
    pub(super) fn add(&mut self, effect: Effect, verb: &str, kind: &str, name: &Name, why: &str) {
        let resource = name::resource(self.dialect, kind, name, &self.said);
        self.push(effect, verb, resource, why, None);
    }

    /// An operation on a resource that is already told.
    pub(super) fn add_resource(&mut self, effect: Effect, verb: &str, resource: Resource, why: &str) {
        self.push(effect, verb, resource, why, None);
    }

    /// One text deeper; `false` when it is too deep. Each has its [`Judge::surface`].
    pub(super) fn deepen(&mut self) -> bool {
        if self.depth >= MOST_TEXTS {
            self.unclear("a statement lies deeper in statements than is read");
            return false;
        }
        self.depth += 1;
        true
    }

    /// Out of a text again.
    pub(super) fn surface(&mut self) {
        self.depth -= 1;
    }

    /// An operation that another party does.
    pub(super) fn add_delegated(&mut self, effect: Effect, verb: &str, why: &str, delegation: Delegation) {
        let resource = name::database(self.dialect, &self.said);
        self.push(effect, verb, resource, why, Some(delegation));
    }

    /// Says that the statement reads, unless more was said of it.
    pub(super) fn reads_at_least(&mut self) {
        if !self.touched {
            self.add_here(Effect::Read, "select", "reads");
        }
    }

    /// The answer to what was found last hands out a secret.
    pub(super) fn last_yields_credential(&mut self) {
        if let Some(last) = self.found.last_mut() {
            last.yields_credential = true;
        }
    }

    /// Cannot be read: held.
    pub(super) fn unclear(&mut self, why: impl AsRef<str>) {
        self.touched = true;
        let resource = name::database(self.dialect, &self.said);
        if !self.found.iter().any(|known| known.action.as_str() == super::UNCLEAR) {
            self.found.push(Operation::new(Effect::Opaque, super::UNCLEAR, resource, why.as_ref()));
        }
    }

    /// What `inside` finds, by itself.
    pub(super) fn apart(&mut self, inside: impl FnOnce(&mut Self)) -> Vec<Operation> {
        let (before, touched) = (std::mem::take(&mut self.found), self.touched);
        inside(self);
        self.touched = touched;
        std::mem::replace(&mut self.found, before)
    }

    /// An operation that was found apart.
    pub(super) fn also(&mut self, operation: Operation) {
        self.touched = true;
        if self.found.contains(&operation) {
            return;
        }
        if self.found.len() >= MOST_OPERATIONS {
            self.overflow = self.overflow.max(Some(if operation.delegates.is_some() { Effect::Opaque } else { operation.effect }));
            return;
        }
        self.found.push(operation);
    }

    /// The call of a function was judged by what was looked up.
    pub(super) fn lean(&mut self, resource: Resource) {
        let action = self.action("call");
        let operation = Operation::new(Effect::Write, &action, resource, "calls a function of the database");
        if !self.leaned.contains(&operation) && self.leaned.len() < MOST_OPERATIONS {
            self.leaned.push(operation);
        }
    }

    /// Nothing is known of a function of this name, and somebody may ask.
    pub(super) fn wonder(&mut self, key: &str) {
        if self.wondered.len() < MOST_OPERATIONS {
            self.wondered.insert(key.to_owned());
        }
    }

    /// Whether a routine's body is to be read for this text.
    pub(super) fn enters(&mut self, routine: String) -> Entered {
        if self.entered.contains(&routine) {
            return Entered::Before;
        }
        if self.entered.len() >= MOST_OPERATIONS {
            return Entered::TooMany;
        }
        self.entered.insert(routine);
        Entered::Now
    }

    fn push(&mut self, effect: Effect, verb: &str, resource: Resource, why: &str, delegates: Option<Delegation>) {
        self.touched = true;
        let action = self.action(verb);
        let is_known =
            |known: &Operation| known.effect == effect && known.action.as_str() == action && known.resource == resource && known.delegates == delegates;
        // The last ones first: a dump inserts into the same table again and again.
        if self.found.iter().rev().any(is_known) {
            return;
        }
        if self.found.len() >= MOST_OPERATIONS {
            // Where the rest would go is not told: the database stands for it.
            self.overflow = self.overflow.max(Some(if delegates.is_some() { Effect::Opaque } else { effect }));
            return;
        }
        let mut operation = Operation::new(effect, &action, resource, why);
        operation.delegates = delegates;
        self.found.push(operation);
    }
}

/// A word in lower case, if it is short enough to be a keyword and ASCII.
pub(super) fn lower<'b>(word: &[u8], buffer: &'b mut [u8; 32]) -> Option<&'b str> {
    let into = buffer.get_mut(..word.len())?;
    into.copy_from_slice(word);
    into.make_ascii_lowercase();
    std::str::from_utf8(into).ok().filter(|text| text.is_ascii())
}
