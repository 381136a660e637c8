//! The columns of the table of mutations.

use agentbox_core::Effect;
use serde_json::{Map, Value};

/// What a mutation does, where its arguments decide too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effects {
    /// Whatever its arguments are.
    Always(Effect),
    /// Destroys if the argument is given, else writes.
    DestroyIfGiven(&'static str),
    /// Destroys unless the argument is `true`: switching a protection off.
    DestroyUnlessTrue(&'static str),
    /// Destroys if the argument is given and not `false`.
    DestroyUnlessFalse(&'static str),
    /// Destroys if the argument holds a deletion somewhere: a key that speaks of deleting and is not `false`, or a `null`.
    DestroyIfItDeletes(&'static str),
}

/// What else must be known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Nothing.
    Nothing,
    /// The answer hands out a secret.
    YieldsCredential,
    /// It makes the provider run code that the request chose, if one of these arguments is given (or always: empty).
    Runs(&'static str),
    /// It makes the provider call the URL in this argument.
    Calls(&'static str),
}

/// One mutation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutation {
    pub(super) field: &'static str,
    pub(super) effects: Effects,
    /// Kind of resource and the argument that names it; the first that is given is the resource.
    pub(super) targets: &'static [(&'static str, &'static str)],
    pub(super) fact: Fact,
    pub(super) reason: &'static str,
}

pub(super) const fn row(field: &'static str, effects: Effects, targets: &'static [(&'static str, &'static str)], fact: Fact, reason: &'static str) -> Mutation {
    Mutation { field, effects, targets, fact, reason }
}

impl Effects {
    pub(super) fn of(self, arguments: &Map<String, Value>) -> Effect {
        let destroy_if = |yes: bool| if yes { Effect::Destroy } else { Effect::Write };
        match self {
            Effects::Always(effect) => effect,
            Effects::DestroyIfGiven(path) => destroy_if(given(arguments, path)),
            Effects::DestroyUnlessTrue(path) => destroy_if(!path.split('|').any(|path| at(arguments, path) == Some(&Value::Bool(true)))),
            Effects::DestroyUnlessFalse(path) => destroy_if(given(arguments, path) && at(arguments, path) != Some(&Value::Bool(false))),
            Effects::DestroyIfItDeletes(path) => destroy_if(at(arguments, path).is_none_or(|value| deletes(value, 0))),
        }
    }
}

/// The value at `input.serviceId`.
pub(super) fn at<'a>(arguments: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.');
    let mut value = arguments.get(steps.next()?)?;
    for step in steps {
        value = value.get(step)?;
    }
    Some(value)
}

/// Whether any of `a|b.c` has a value.
pub(super) fn given(arguments: &Map<String, Value>, paths: &str) -> bool {
    paths.split('|').any(|path| at(arguments, path).is_some_and(|value| !value.is_null()))
}

fn deletes(value: &Value, depth: usize) -> bool {
    const DEEPEST: usize = 64;
    if depth == DEEPEST {
        return true;
    }
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let name = name.to_ascii_lowercase();
            ((name.contains("delet") || name.contains("remov")) && *value != Value::Bool(false)) || deletes(value, depth + 1)
        }),
        Value::Array(items) => items.iter().any(|item| deletes(item, depth + 1)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
