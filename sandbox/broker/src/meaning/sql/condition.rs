//! Whether a condition holds for practically every row: bounded folding of constants, and the shapes that people write for *all*.

use std::cmp::Ordering;

use super::{Dialect, lexer::Kind, name::Name, part::Part};

/// How deep an expression is followed; below, it may be anything.
const DEEPEST: usize = 64;

/// Most tokens of a condition that are looked at.
const MOST_TOKENS: usize = 4096;

/// What an expression is worth, as far as it can be told without the rows.
#[derive(Clone, Debug, PartialEq)]
enum Worth {
    Null,
    Bool(bool),
    Number(f64),
    Text(Vec<u8>),
    /// A column, by its name in lower case.
    Column(String),
    /// The present time.
    Now,
    /// True for practically every row.
    NearlyAll,
    /// Depends on the rows, or is not followed.
    Depends,
}

impl Worth {
    fn truth(&self, dialect: Dialect) -> Option<bool> {
        match self {
            Worth::Bool(value) => Some(*value),
            Worth::NearlyAll => Some(true),
            Worth::Null => Some(false),
            Worth::Number(number) => Some(*number != 0.0),
            // PostgreSQL takes 't', MySQL reads a number off the front.
            Worth::Text(text) if dialect == Dialect::PostgreSql => match text.to_ascii_lowercase().as_slice() {
                b"t" | b"true" | b"y" | b"yes" | b"on" | b"1" => Some(true),
                _ => Some(false),
            },
            Worth::Text(text) => Some(leading_number(text) != 0.0),
            Worth::Column(_) | Worth::Now | Worth::Depends => None,
        }
    }
}

fn leading_number(text: &[u8]) -> f64 {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')).count();
    std::str::from_utf8(text.get(..length).unwrap_or_default()).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Whether the condition holds for practically every row of `table`.
pub(super) fn holds_for_all(dialect: Dialect, condition: &Part<'_>, table: Option<&Name>) -> bool {
    if condition.is_empty() || condition.len() > MOST_TOKENS {
        // Nothing there is no condition. A long one names what it means.
        return condition.is_empty();
    }
    let mut fold = Fold { dialect, table, part: *condition, at: 0, depth: 0 };
    let worth = fold.either();
    // What was not read to its end may be anything.
    fold.at >= condition.len() && worth.truth(dialect) == Some(true)
}

/// The constant text that an expression stands for, where it can be told.
pub(super) fn constant_text(dialect: Dialect, expression: &Part<'_>) -> Option<Vec<u8>> {
    if expression.len() > MOST_TOKENS {
        return None;
    }
    let mut fold = Fold { dialect, table: None, part: *expression, at: 0, depth: 0 };
    let worth = fold.sum();
    match worth {
        Worth::Text(text) if fold.at >= expression.len() => Some(text),
        _ => None,
    }
}

struct Fold<'a> {
    dialect: Dialect,
    table: Option<&'a Name>,
    part: Part<'a>,
    at: usize,
    depth: usize,
}

impl Fold<'_> {
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.part.is(self.at, word);
        self.at += usize::from(found);
        found
    }

    fn take_mark(&mut self, mark: &str) -> bool {
        let found = self.part.is_mark(self.at, mark);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Worth {
        let mut from = self.at;
        let mut left = self.both();
        // Each turn takes an operator.
        while self.take_word("or") || matches!(self.dialect, Dialect::MySql | Dialect::Other) && self.part.is_mark(self.at, "||") && self.take_mark("||") {
            let between = self.at;
            let right = self.both();
            let sides = (self.part.slice(from, between.saturating_sub(1)), self.part.slice(between, self.at));
            from = between;
            left = match (left.truth(self.dialect), right.truth(self.dialect)) {
                (Some(true), _) | (_, Some(true)) => Worth::Bool(true),
                (Some(false), Some(false)) => Worth::Bool(false),
                _ if complements(&sides.0, &sides.1) => Worth::NearlyAll,
                _ => Worth::Depends,
            };
        }
        left
    }

    fn both(&mut self) -> Worth {
        let mut left = self.negated();
        while self.take_word("and") || self.take_mark("&&") {
            let right = self.negated();
            left = match (left.truth(self.dialect), right.truth(self.dialect)) {
                (Some(false), _) | (_, Some(false)) => Worth::Bool(false),
                (Some(true), Some(true)) => Worth::Bool(true),
                _ => Worth::Depends,
            };
        }
        left
    }

    fn negated(&mut self) -> Worth {
        let mut negations = 0usize;
        while self.take_word("not") || self.take_mark("!") {
            negations += 1;
        }
        let worth = self.comparison();
        if negations.is_multiple_of(2) {
            return worth;
        }
        match worth {
            Worth::Null => Worth::Null,
            Worth::NearlyAll => Worth::Bool(false),
            _ => worth.truth(self.dialect).map_or(Worth::Depends, |truth| Worth::Bool(!truth)),
        }
    }

    fn comparison(&mut self) -> Worth {
        let mut left = self.sum();
        loop {
            let negated =
                self.part.is(self.at, "not") && self.part.is_any(self.at + 1, &["in", "like", "ilike", "between", "rlike", "regexp", "similar", "glob"]);
            self.at += usize::from(negated);
            left = match () {
                () if self.take_word("is") => self.is_what(&left),
                () if self.take_word("isnull") => of_null(&left, true),
                () if self.take_word("notnull") => of_null(&left, false),
                () if self.take_word("in") => flip(self.in_list(&left), negated),
                () if self.take_word("between") => {
                    let low = self.sum();
                    let _ = self.take_word("and");
                    let high = self.sum();
                    let truth = |worth: Worth| worth.truth(self.dialect);
                    let inside = match (truth(related(&left, ">=", &low)), truth(related(&left, "<=", &high))) {
                        (Some(true), Some(true)) => Worth::NearlyAll,
                        (Some(false), _) | (_, Some(false)) => Worth::Bool(false),
                        _ => Worth::Depends,
                    };
                    flip(inside, negated)
                }
                () if self.part.is_any(self.at, &["like", "ilike", "rlike", "regexp", "glob", "similar"]) => {
                    let is_like = self.part.is_any(self.at, &["like", "ilike", "similar"]);
                    self.at += 1;
                    let _ = self.take_word("to");
                    let pattern = self.sum();
                    if self.take_word("escape") {
                        let _ = self.sum();
                    }
                    let takes_all = match &pattern {
                        Worth::Text(text) if is_like => !text.is_empty() && text.iter().all(|byte| *byte == b'%'),
                        Worth::Text(text) => matches!(text.as_slice(), b"" | b".*" | b"." | b"^" | b".+" | b"*"),
                        _ => false,
                    };
                    if takes_all && !negated { Worth::NearlyAll } else { Worth::Depends }
                }
                () => match self.operator() {
                    Some(operator) => {
                        let right = self.sum();
                        related(&left, operator, &right)
                    }
                    None => return left,
                },
            };
        }
    }

    fn operator(&mut self) -> Option<&'static str> {
        let found = ["=", "==", "<>", "!=", "<=", ">=", "<", ">"].into_iter().find(|mark| self.part.is_mark(self.at, mark))?;
        self.at += 1;
        // MySQL's `<=>`.
        if found == "<=" && self.take_mark(">") {
            return Some("=");
        }
        Some(found)
    }

    fn is_what(&mut self, left: &Worth) -> Worth {
        let negated = self.take_word("not");
        if self.take_word("null") || self.take_word("unknown") {
            return of_null(left, !negated);
        }
        if self.take_word("distinct") {
            let _ = self.take_word("from");
            let right = self.sum();
            return related(left, if negated { "=" } else { "<>" }, &right);
        }
        let right = self.sum();
        match (&right, left.truth(self.dialect)) {
            (Worth::Bool(value), Some(truth)) => Worth::Bool((truth == *value) != negated),
            _ => Worth::Depends,
        }
    }

    fn in_list(&mut self, left: &Worth) -> Worth {
        if !self.part.is_mark(self.at, "(") {
            return Worth::Depends;
        }
        let list = self.part.inside(self.at);
        self.at = self.part.after(self.at);
        if list.is_any(0, &["select", "with", "table"]) {
            return if self.is_whole_table(&list) { Worth::NearlyAll } else { Worth::Depends };
        }
        let is_in = list.split(",").into_iter().take(64).any(|item| {
            let mut fold = Fold { dialect: self.dialect, table: self.table, part: item, at: 0, depth: self.depth + 1 };
            let worth = if fold.depth < DEEPEST { fold.sum() } else { Worth::Depends };
            fold.at >= item.len() && related(left, "=", &worth).truth(self.dialect) == Some(true)
        });
        if is_in { Worth::NearlyAll } else { Worth::Depends }
    }

    /// `SELECT id FROM orders`, of the very table that is changed, without a condition.
    fn is_whole_table(&self, query: &Part<'_>) -> bool {
        let Some(from) = query.find(&["from"]) else { return false };
        let Some((name, next)) = Name::read(query, from + 1, self.dialect) else { return false };
        self.table.is_some_and(|table| table.last() == name.last()) && next >= query.len()
    }

    fn sum(&mut self) -> Worth {
        let mut left = self.product();
        loop {
            let operator = ["+", "-", "||"].into_iter().find(|mark| self.part.is_mark(self.at, mark));
            let Some(operator) = operator else { return left };
            if operator == "||" && self.dialect == Dialect::MySql {
                return left;
            }
            self.at += 1;
            let right = self.product();
            left = match (operator, left, right) {
                ("+", Worth::Number(a), Worth::Number(b)) => Worth::Number(a + b),
                ("-", Worth::Number(a), Worth::Number(b)) => Worth::Number(a - b),
                ("||" | "+", Worth::Text(mut a), Worth::Text(b)) => {
                    a.extend(b);
                    Worth::Text(a)
                }
                _ => Worth::Depends,
            };
        }
    }

    fn product(&mut self) -> Worth {
        let mut left = self.atom();
        loop {
            let operator = ["*", "/", "%", "^"].into_iter().find(|mark| self.part.is_mark(self.at, mark));
            let Some(operator) = operator else { return left };
            self.at += 1;
            left = match (operator, left, self.atom()) {
                ("*", Worth::Number(a), Worth::Number(b)) => Worth::Number(a * b),
                ("/", Worth::Number(a), Worth::Number(b)) if b != 0.0 => Worth::Number(a / b),
                _ => Worth::Depends,
            };
        }
    }

    fn atom(&mut self) -> Worth {
        let worth = self.bare_atom();
        // `::type` changes nothing that matters here.
        while self.take_mark("::") {
            if let Some((_, next)) = Name::read(&self.part, self.at, self.dialect) {
                self.at = next;
            }
            if self.part.is_mark(self.at, "(") {
                self.at = self.part.after(self.at);
            }
        }
        worth
    }

    fn bare_atom(&mut self) -> Worth {
        if self.depth >= DEEPEST {
            self.at = self.part.len();
            return Worth::Depends;
        }
        match self.part.kind(self.at) {
            Some(Kind::Number) => {
                let raw = String::from_utf8_lossy(self.part.raw(self.at)).replace('_', "");
                self.at += 1;
                let hexadecimal =
                    raw.strip_prefix("0x").or_else(|| raw.strip_prefix("0X")).and_then(|digits| u32::from_str_radix(digits, 16).ok()).map(f64::from);
                hexadecimal.or_else(|| raw.parse().ok()).map_or(Worth::Depends, Worth::Number)
            }
            Some(Kind::Text) => {
                let mut text = self.part.string(self.at).unwrap_or_default();
                self.at += 1;
                // MySQL joins strings that stand side by side.
                while let Some(more) = self.part.string(self.at) {
                    text.extend(more);
                    self.at += 1;
                }
                Worth::Text(text)
            }
            Some(Kind::Mark) if self.part.is_mark(self.at, "(") => {
                let inside = self.part.inside(self.at);
                self.at = self.part.after(self.at);
                if inside.is_any(0, &["select", "with", "values", "table"]) {
                    return scalar(&inside, self.dialect, self.depth + 1);
                }
                self.nested(inside)
            }
            Some(Kind::Mark) if self.part.is_mark(self.at, "-") || self.part.is_mark(self.at, "+") => {
                let negative = self.part.is_mark(self.at, "-");
                self.at += 1;
                self.depth += 1;
                let worth = self.bare_atom();
                self.depth -= 1;
                match worth {
                    Worth::Number(number) => Worth::Number(if negative { -number } else { number }),
                    _ => Worth::Depends,
                }
            }
            Some(Kind::Word | Kind::Quoted) => self.named(),
            Some(Kind::Mark | Kind::Parameter) | None => {
                self.at += 1;
                Worth::Depends
            }
        }
    }

    fn nested(&self, inside: Part<'_>) -> Worth {
        let mut fold = Fold { dialect: self.dialect, table: self.table, part: inside, at: 0, depth: self.depth + 1 };
        let worth = fold.either();
        if fold.at >= inside.len() { worth } else { Worth::Depends }
    }

    fn named(&mut self) -> Worth {
        for (word, worth) in [("true", Worth::Bool(true)), ("false", Worth::Bool(false)), ("null", Worth::Null)] {
            if self.take_word(word) {
                return worth;
            }
        }
        if self.part.is(self.at, "exists") && self.part.is_mark(self.at + 1, "(") {
            let inside = self.part.inside(self.at + 1);
            self.at = self.part.after(self.at + 1);
            // Without FROM or a condition there is always a row.
            return if inside.has(&["from", "where", "limit", "having"]) { Worth::Depends } else { Worth::Bool(true) };
        }
        if self.part.is(self.at, "case") {
            // Up to its END, which closes as many as were opened.
            let mut open = 0usize;
            while self.at < self.part.len() {
                open += usize::from(self.part.is(self.at, "case"));
                let ends = self.part.is(self.at, "end");
                self.at = self.part.after(self.at);
                if ends {
                    open -= 1;
                    if open == 0 {
                        break;
                    }
                }
            }
            return Worth::Depends;
        }
        if self.part.is_any(self.at, &["current_timestamp", "current_date", "localtimestamp", "sysdate", "systimestamp"]) {
            self.at += 1;
            if self.part.is_mark(self.at, "(") {
                self.at = self.part.after(self.at);
            }
            return Worth::Now;
        }
        // `INTERVAL '1 day'`, `DATE '2020-01-01'`.
        if self.part.kind(self.at + 1) == Some(Kind::Text) {
            self.at += 2;
            return Worth::Depends;
        }
        let Some((name, next)) = Name::read(&self.part, self.at, self.dialect) else {
            self.at += 1;
            return Worth::Depends;
        };
        self.at = next.max(self.at + 1);
        if !self.part.is_mark(self.at, "(") {
            return Worth::Column(name.dotted().to_ascii_lowercase());
        }
        let arguments = self.part.inside(self.at).split(",");
        self.at = self.part.after(self.at);
        self.function(&name.last().to_ascii_lowercase(), &arguments)
    }

    fn function(&self, name: &str, arguments: &[Part<'_>]) -> Worth {
        if self.depth >= DEEPEST {
            return Worth::Depends;
        }
        let worth = |index: usize| arguments.get(index).map_or(Worth::Depends, |argument| self.nested(*argument));
        match name {
            "now" | "getdate" | "sysdatetime" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp" | "curdate" | "utc_timestamp" => Worth::Now,
            "concat" => {
                let mut text = Vec::new();
                for index in 0..arguments.len().min(64) {
                    match worth(index) {
                        Worth::Text(part) => text.extend(part),
                        _ => return Worth::Depends,
                    }
                }
                Worth::Text(text)
            }
            "coalesce" | "ifnull" | "nvl" | "isnull" => match (worth(0), worth(1)) {
                (Worth::Null, second) => second,
                (first, _) if first.truth(self.dialect).is_some() => first,
                _ => Worth::Depends,
            },
            "lower" | "upper" | "trim" | "cast" | "convert" => match worth(0) {
                Worth::Column(column) => Worth::Column(format!("{name}({column})")),
                other => other,
            },
            // Lengths, counts and the like: never below zero.
            "length" | "char_length" | "len" | "abs" | "octet_length" | "random" | "rand" => Worth::Column("length".to_owned()),
            _ => Worth::Depends,
        }
    }
}

/// `(SELECT 1)`: the constant, where there is nothing else in it.
fn scalar(query: &Part<'_>, dialect: Dialect, depth: usize) -> Worth {
    if depth >= DEEPEST || !query.is(0, "select") || query.has(&["from", "where", "limit", "having", "union"]) {
        return Worth::Depends;
    }
    let inside = query.from(1);
    let mut fold = Fold { dialect, table: None, part: inside, at: 0, depth };
    let worth = fold.either();
    if fold.at >= inside.len() { worth } else { Worth::Depends }
}

fn flip(worth: Worth, negated: bool) -> Worth {
    match (worth, negated) {
        (Worth::Bool(value), true) => Worth::Bool(!value),
        (Worth::NearlyAll, true) => Worth::Bool(false),
        (worth, _) => worth,
    }
}

fn of_null(left: &Worth, wants_null: bool) -> Worth {
    match left {
        Worth::Null => Worth::Bool(wants_null),
        Worth::Bool(_) | Worth::Number(_) | Worth::Text(_) | Worth::Now | Worth::NearlyAll => Worth::Bool(!wants_null),
        // A key is never null; other columns may well be.
        Worth::Column(column) if is_key(column) => Worth::Bool(!wants_null),
        Worth::Column(_) | Worth::Depends => Worth::Depends,
    }
}

fn compare(left: &Worth, right: &Worth) -> Option<Ordering> {
    match (left, right) {
        (Worth::Number(a), Worth::Number(b)) => a.partial_cmp(b),
        (Worth::Text(a), Worth::Text(b)) => Some(a.cmp(b)),
        (Worth::Bool(a), Worth::Bool(b)) => Some(a.cmp(b)),
        // '1' = 1.
        (Worth::Text(a), Worth::Number(b)) => leading_number(a).partial_cmp(b),
        (Worth::Number(a), Worth::Text(b)) => a.partial_cmp(&leading_number(b)),
        _ => None,
    }
}

fn related(left: &Worth, operator: &str, right: &Worth) -> Worth {
    if *left == Worth::Null || *right == Worth::Null {
        return Worth::Null;
    }
    if let Some(order) = compare(left, right) {
        return Worth::Bool(match operator {
            "=" | "==" => order == Ordering::Equal,
            "<>" | "!=" => order != Ordering::Equal,
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            _ => order != Ordering::Less,
        });
    }
    match (left, right) {
        (Worth::Column(a), Worth::Column(b)) if a == b => match operator {
            "=" | "==" | "<=" | ">=" => Worth::NearlyAll,
            _ => Worth::Bool(false),
        },
        (Worth::Column(column), other) => of_column(column, operator, other),
        (other, Worth::Column(column)) => of_column(column, mirrored(operator), other),
        _ => Worth::Depends,
    }
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        other => other,
    }
}

/// Few tables count further.
const BEYOND: f64 = 1e8;

/// Keys count from 1, lengths from 0, and rows were made in the past.
fn of_column(column: &str, operator: &str, other: &Worth) -> Worth {
    let least = if is_key(column) { Some(1.0) } else { (column == "length").then_some(0.0) };
    match (other, least) {
        (Worth::Number(number), Some(least)) => match operator {
            ">" if *number < least => Worth::NearlyAll,
            ">=" if *number <= least => Worth::NearlyAll,
            "<>" | "!=" if *number < least => Worth::NearlyAll,
            "<" | "<=" if *number >= BEYOND => Worth::NearlyAll,
            _ => Worth::Depends,
        },
        (Worth::Text(text), Some(_)) if is_key(column) && matches!(operator, "<>" | "!=") && text.is_empty() => Worth::NearlyAll,
        (Worth::Now, _) if is_birth(column) && matches!(operator, "<" | "<=") => Worth::NearlyAll,
        _ => Worth::Depends,
    }
}

fn is_key(column: &str) -> bool {
    matches!(last(column), "id" | "_id" | "pk" | "rowid" | "uuid" | "ctid" | "oid")
}

fn is_birth(column: &str) -> bool {
    ["created", "inserted", "registered", "updated", "modified"].iter().any(|word| last(column).starts_with(word))
}

fn last(column: &str) -> &str {
    column.rsplit('.').next().unwrap_or(column)
}

/// `x IS NULL OR x IS NOT NULL`, `a = 1 OR a <> 1`: one of both holds for every row.
fn complements(left: &Part<'_>, right: &Part<'_>) -> bool {
    let words = |part: &Part<'_>| (0..part.len()).filter(|at| !part.is(*at, "not")).map(|at| part.raw(at).to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (words(left), words(right));
    if a == b {
        return left.len().abs_diff(right.len()) == 1;
    }
    let pairs: [(&[u8], &[u8]); 4] = [(b"=", b"<>"), (b"=", b"!="), (b"<", b">="), (b">", b"<=")];
    let differ: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a != b).collect();
    match differ.as_slice() {
        [(x, y)] if a.len() == b.len() => {
            pairs.iter().any(|(one, other)| (x.as_slice(), y.as_slice()) == (*one, *other) || (x.as_slice(), y.as_slice()) == (*other, *one))
        }
        _ => false,
    }
}
