//! A GraphQL document: its operations, and the fields that each would run at the root.

use std::collections::BTreeMap;

use apollo_parser::{
    Parser,
    cst::{self, CstNode as _},
};
use serde_json::{Map, Value};

/// Longest document in bytes.
const LONGEST: usize = 1 << 20;

/// Most tokens of one document; the longest ones of real tools have a few thousand.
const MOST_TOKENS: usize = 50_000;

/// Deepest nesting of selections.
const DEEPEST: usize = 64;

/// Deepest nesting of brackets of any kind, checked before the parser recurses.
const DEEPEST_BRACKETS: usize = 200;

/// Most root fields that one operation may run.
const MOST_FIELDS: usize = 256;

/// Most nested fields that are looked at below one root field.
const MOST_NESTED: usize = 2000;

/// Deepest chain of fragments.
const DEEPEST_FRAGMENTS: usize = 16;

/// Deepest nesting of an argument's value.
const DEEPEST_VALUE: usize = 32;

/// Why a document cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Too long, too deep, or too many tokens.
    #[error("the GraphQL document is larger than what is read")]
    TooLarge,
    /// The grammar does not allow it.
    #[error("the GraphQL document does not parse")]
    Syntax,
    /// It has no operation, or definitions that are none of a request.
    #[error("the GraphQL document has definitions that no request has")]
    NotExecutable,
    /// `operationName` names none of them, or two operations share it.
    #[error("operationName names no operation of the document, or more than one")]
    NoSuchOperation,
    /// A fragment is missing, defined twice, or contains itself.
    #[error("a GraphQL fragment is missing, defined twice, or contains itself")]
    Fragment,
    /// An argument, input field or variable stands twice.
    #[error("a GraphQL argument, field or variable stands twice")]
    Twice,
    /// More fields than anybody would read.
    #[error("the GraphQL operation has more root fields than are judged")]
    TooManyFields,
    /// A root field that some servers would run and some would not.
    #[error("a GraphQL root field cannot be read")]
    Unreadable,
}

/// The three kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads.
    Query,
    /// Does something.
    Mutation,
    /// Reads, as things happen.
    Subscription,
}

/// A field at the root of an operation: what the server would run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RootField {
    /// The kind of its operation.
    pub(crate) kind: Kind,
    /// Its own name; an alias changes nothing.
    pub(crate) name: String,
    /// Its arguments, with variables put in. A variable that has no value is absent.
    pub(crate) arguments: Map<String, Value>,
    /// Fields selected below it.
    pub(crate) nested: Vec<Nested>,
}

/// A field below a root field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nested {
    /// Its name.
    pub(crate) name: String,
    /// Names of its arguments.
    pub(crate) arguments: Vec<String>,
}

/// Reads a document and returns what it would run.
///
/// With `operation_name` the one that it names; without, all of them: a server that is lenient runs any.
///
/// # Errors
/// It cannot be understood, so it is opaque.
pub(crate) fn root_fields(source: &str, operation_name: Option<&str>, variables: &Map<String, Value>) -> Result<Vec<RootField>, Malformed> {
    if source.len() > LONGEST || !brackets_are_shallow(source) {
        return Err(Malformed::TooLarge);
    }
    let tree = Parser::new(source).recursion_limit(DEEPEST).token_limit(MOST_TOKENS).parse();
    if tree.errors().len() > 0 {
        return Err(Malformed::Syntax);
    }
    let mut operations = Vec::new();
    let mut fragments = BTreeMap::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => operations.push(operation),
            cst::Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name()).ok_or(Malformed::Syntax)?.text().to_string();
                if fragments.insert(name, fragment.selection_set().ok_or(Malformed::Syntax)?).is_some() {
                    return Err(Malformed::Fragment);
                }
            }
            _ => return Err(Malformed::NotExecutable),
        }
    }
    if operations.is_empty() {
        return Err(Malformed::NotExecutable);
    }
    let chosen = choose(&operations, operation_name)?;
    let mut fields = Vec::new();
    for operation in chosen {
        let values = variable_values(operation, variables)?;
        let selection = operation.selection_set().ok_or(Malformed::Syntax)?;
        let mut walk = Walk { kind: kind(operation), fragments: &fragments, values: &values, open: Vec::new(), fields: &mut fields };
        walk.root(&selection)?;
    }
    if fields.is_empty() { Err(Malformed::Unreadable) } else { Ok(fields) }
}

/// Counts brackets outside strings and comments roughly: an over-count refuses, and an under-count cannot happen, because a
/// bracket inside a string only adds.
fn brackets_are_shallow(source: &str) -> bool {
    let mut depth = 0_usize;
    for byte in source.bytes() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST_BRACKETS {
            return false;
        }
    }
    true
}

fn choose<'a>(operations: &'a [cst::OperationDefinition], name: Option<&str>) -> Result<Vec<&'a cst::OperationDefinition>, Malformed> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(operations.iter().collect()) };
    let named: Vec<_> = operations.iter().filter(|operation| operation.name().is_some_and(|own| own.text().as_str() == name)).collect();
    // One anonymous operation and a name is an error by the standard; lenient servers run it.
    if named.is_empty() && operations.len() == 1 && operations.iter().all(|operation| operation.name().is_none()) {
        return Ok(operations.iter().collect());
    }
    if named.len() == 1 { Ok(named) } else { Err(Malformed::NoSuchOperation) }
}

fn kind(operation: &cst::OperationDefinition) -> Kind {
    match operation.operation_type() {
        Some(word) if word.mutation_token().is_some() => Kind::Mutation,
        Some(word) if word.subscription_token().is_some() => Kind::Subscription,
        Some(_) | None => Kind::Query,
    }
}

/// Values of an operation's variables: the given ones, else their defaults.
fn variable_values(operation: &cst::OperationDefinition, given: &Map<String, Value>) -> Result<Map<String, Value>, Malformed> {
    let mut values = Map::new();
    let mut names = Vec::new();
    for definition in operation.variable_definitions().into_iter().flat_map(|all| all.variable_definitions()) {
        let name = definition.variable().and_then(|variable| variable.name()).ok_or(Malformed::Syntax)?.text().to_string();
        if names.contains(&name) {
            return Err(Malformed::Twice);
        }
        let default = definition.default_value().and_then(|default| default.value());
        if let Some(value) = given.get(&name) {
            values.insert(name.clone(), value.clone());
        } else if let Some(default) = default
            && let Some(value) = value(&default, &Map::new(), 0)?
        {
            values.insert(name.clone(), value);
        }
        names.push(name);
    }
    Ok(values)
}

struct Walk<'a> {
    kind: Kind,
    fragments: &'a BTreeMap<String, cst::SelectionSet>,
    values: &'a Map<String, Value>,
    /// Fragments that are being walked through.
    open: Vec<String>,
    fields: &'a mut Vec<RootField>,
}

impl Walk<'_> {
    /// All fields at the root, also through fragments. `@skip` and `@include` are not believed: judged as if included.
    fn root(&mut self, selection: &cst::SelectionSet) -> Result<(), Malformed> {
        for item in selection.selections() {
            match item {
                cst::Selection::Field(field) => {
                    if self.fields.len() == MOST_FIELDS {
                        return Err(Malformed::TooManyFields);
                    }
                    let name = field.name().ok_or(Malformed::Syntax)?.text().to_string();
                    let arguments = arguments(&field, self.values)?;
                    let mut nested = Vec::new();
                    if let Some(below) = field.selection_set() {
                        self.below(&below, &mut nested)?;
                    }
                    self.fields.push(RootField { kind: self.kind, name, arguments, nested });
                }
                cst::Selection::FragmentSpread(spread) => {
                    let (name, set) = self.enter(&spread)?;
                    self.root(&set)?;
                    self.leave(&name);
                }
                cst::Selection::InlineFragment(fragment) => {
                    let set = fragment.selection_set().ok_or(Malformed::Syntax)?;
                    self.root(&set)?;
                }
            }
        }
        Ok(())
    }

    fn below(&mut self, selection: &cst::SelectionSet, found: &mut Vec<Nested>) -> Result<(), Malformed> {
        for item in selection.selections() {
            if found.len() == MOST_NESTED {
                return Err(Malformed::TooManyFields);
            }
            match item {
                cst::Selection::Field(field) => {
                    let name = field.name().ok_or(Malformed::Syntax)?.text().to_string();
                    let names = field.arguments().into_iter().flat_map(|all| all.arguments()).filter_map(|argument| argument.name());
                    found.push(Nested { name, arguments: names.map(|name| name.text().to_string()).collect() });
                    if let Some(below) = field.selection_set() {
                        self.below(&below, found)?;
                    }
                }
                cst::Selection::FragmentSpread(spread) => {
                    let (name, set) = self.enter(&spread)?;
                    // One unit a spread, so that fragments of fragments of nothing still end.
                    found.push(Nested { name: String::new(), arguments: Vec::new() });
                    self.below(&set, found)?;
                    self.leave(&name);
                }
                cst::Selection::InlineFragment(fragment) => {
                    let set = fragment.selection_set().ok_or(Malformed::Syntax)?;
                    self.below(&set, found)?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, spread: &cst::FragmentSpread) -> Result<(String, cst::SelectionSet), Malformed> {
        let name = spread.fragment_name().and_then(|name| name.name()).ok_or(Malformed::Syntax)?.text().to_string();
        if self.open.len() == DEEPEST_FRAGMENTS || self.open.contains(&name) {
            return Err(Malformed::Fragment);
        }
        let set = self.fragments.get(&name).ok_or(Malformed::Fragment)?.clone();
        self.open.push(name.clone());
        Ok((name, set))
    }

    fn leave(&mut self, name: &str) {
        self.open.retain(|open| open != name);
    }
}

fn arguments(field: &cst::Field, values: &Map<String, Value>) -> Result<Map<String, Value>, Malformed> {
    let mut found = Map::new();
    let mut names = Vec::new();
    for argument in field.arguments().into_iter().flat_map(|all| all.arguments()) {
        let name = argument.name().ok_or(Malformed::Syntax)?.text().to_string();
        if names.contains(&name) {
            return Err(Malformed::Twice);
        }
        if let Some(value) = value(&argument.value().ok_or(Malformed::Syntax)?, values, 0)? {
            found.insert(name.clone(), value);
        }
        names.push(name);
    }
    Ok(found)
}

/// A literal as JSON; `None` for a variable without a value.
fn value(literal: &cst::Value, values: &Map<String, Value>, depth: usize) -> Result<Option<Value>, Malformed> {
    if depth == DEEPEST_VALUE {
        return Err(Malformed::TooLarge);
    }
    let number = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Some(match literal {
        cst::Value::Variable(variable) => {
            let name = variable.name().ok_or(Malformed::Syntax)?.text().to_string();
            return Ok(values.get(&name).cloned());
        }
        cst::Value::StringValue(text) => Value::String(String::from(text)),
        cst::Value::IntValue(int) => number(int.syntax().text().to_string().trim().to_owned()),
        cst::Value::FloatValue(float) => number(float.syntax().text().to_string().trim().to_owned()),
        cst::Value::BooleanValue(truth) => Value::Bool(truth.true_token().is_some()),
        cst::Value::NullValue(_) => Value::Null,
        cst::Value::EnumValue(name) => Value::String(name.name().ok_or(Malformed::Syntax)?.text().to_string()),
        cst::Value::ListValue(list) => {
            let mut items = Vec::new();
            for item in list.values() {
                items.extend(value(&item, values, depth + 1)?);
            }
            Value::Array(items)
        }
        cst::Value::ObjectValue(object) => {
            let mut fields = Map::new();
            for field in object.object_fields() {
                let name = field.name().ok_or(Malformed::Syntax)?.text().to_string();
                let item = value(&field.value().ok_or(Malformed::Syntax)?, values, depth + 1)?;
                if fields.insert(name, item.unwrap_or(Value::Null)).is_some() {
                    return Err(Malformed::Twice);
                }
            }
            Value::Object(fields)
        }
    }))
}
