//! Carries out GraphQL documents: operations, variables, aliases and fragments, by the very grammar, against the types of [`super::schema`].

use std::collections::BTreeMap;

use apollo_parser::{
    Parser,
    cst::{self, CstNode as _},
};
use serde_json::{Map, Value, json};

use super::schema::{Answer, Node, Right};
use super::world::World;

/// Deepest nesting of a document.
const DEEPEST: usize = 40;
/// Most tokens of a document.
const MOST_TOKENS: usize = 20_000;
/// Most fields that one document may resolve; a cycle of types would otherwise be a bomb.
const MOST_FIELDS: usize = 50_000;

/// Why a document is not carried out; the text goes to the client as the API's own error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The grammar, or a limit.
    #[error("Syntax Error: {0}")]
    Syntax(String),
    /// The schema.
    #[error("{0}")]
    Validation(String),
    /// The token has no right to it.
    #[error("Not Authorized")]
    NotAuthorized,
    /// There is no such thing.
    #[error("{0} not found")]
    NotFound(&'static str),
}

/// One request of a client.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Map<String, Value>,
}

/// Carries it out.
pub(super) fn answer(world: &mut World, right: Right, request: &Request) -> Value {
    match carry_out(world, right, request) {
        Ok(data) => json!({ "data": data }),
        Err(fault) => json!({ "errors": [{ "message": fault.to_string() }], "data": null }),
    }
}

fn carry_out(world: &mut World, right: Right, request: &Request) -> Result<Value, Fault> {
    let syntax = |what: &str| Fault::Syntax(what.to_owned());
    let tree = Parser::new(&request.query).recursion_limit(DEEPEST).token_limit(MOST_TOKENS).parse();
    if let Some(error) = tree.errors().next() {
        return Err(syntax(error.message()));
    }
    let mut operations = Vec::new();
    let mut fragments = BTreeMap::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => operations.push(operation),
            cst::Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name()).ok_or_else(|| syntax("a fragment without a name"))?;
                fragments.insert(name.text().to_string(), fragment.selection_set().ok_or_else(|| syntax("an empty fragment"))?);
            }
            _ => return Err(Fault::Validation("The document is not executable.".to_owned())),
        }
    }
    let operation = match &request.operation_name {
        Some(name) => operations.iter().find(|operation| operation.name().is_some_and(|own| own.text().as_str() == name)),
        None if operations.len() == 1 => operations.first(),
        None => None,
    };
    let operation = operation.ok_or_else(|| Fault::Validation("Must provide operation name if query contains multiple operations.".to_owned()))?;
    let root = match operation.operation_type() {
        Some(word) if word.mutation_token().is_some() => Node::Mutation,
        Some(word) if word.subscription_token().is_some() => return Err(Fault::Validation("Subscriptions are not served here.".to_owned())),
        Some(_) | None => Node::Query,
    };
    if matches!(root, Node::Mutation) {
        world.mutations_received += 1;
    }
    right.may(&root)?;
    let variables = variables(operation, &request.variables)?;
    let selection = operation.selection_set().ok_or_else(|| syntax("no selection"))?;
    let mut run = Run { world, fragments: &fragments, variables: &variables, left: MOST_FIELDS };
    // The whole document is held against the schema before anything of it happens, as a real server does.
    run.check(&selection, &root, 0)?;
    let mut data = Map::new();
    run.select(&root, &selection, &mut data, 0)?;
    Ok(Value::Object(data))
}

fn variables(operation: &cst::OperationDefinition, given: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    let mut values = Map::new();
    for definition in operation.variable_definitions().into_iter().flat_map(|all| all.variable_definitions()) {
        let Some(name) = definition.variable().and_then(|variable| variable.name()).map(|name| name.text().to_string()) else { continue };
        let default = definition.default_value().and_then(|default| default.value());
        match (given.get(&name), default) {
            (Some(value), _) => drop(values.insert(name, value.clone())),
            (None, Some(default)) => drop(values.insert(name, literal(&default, &Map::new(), 0)?)),
            (None, None) => {}
        }
    }
    Ok(values)
}

struct Run<'a> {
    world: &'a mut World,
    fragments: &'a BTreeMap<String, cst::SelectionSet>,
    variables: &'a Map<String, Value>,
    left: usize,
}

impl Run<'_> {
    /// Root fields must exist; below the root the schema is asked while resolving, which changes nothing.
    fn check(&self, selection: &cst::SelectionSet, root: &Node, depth: usize) -> Result<(), Fault> {
        if depth == DEEPEST {
            return Err(Fault::Syntax("too deep".to_owned()));
        }
        for item in selection.selections() {
            match item {
                cst::Selection::Field(field) => {
                    let name = name_of(&field)?;
                    if !root.has(&name) {
                        return Err(unknown(&name, root));
                    }
                }
                cst::Selection::FragmentSpread(spread) => self.check(&self.fragment(&spread)?, root, depth + 1)?,
                cst::Selection::InlineFragment(fragment) => self.check(&inline(&fragment)?, root, depth + 1)?,
            }
        }
        Ok(())
    }

    fn fragment(&self, spread: &cst::FragmentSpread) -> Result<cst::SelectionSet, Fault> {
        let name = spread.fragment_name().and_then(|name| name.name()).map(|name| name.text().to_string()).unwrap_or_default();
        self.fragments.get(&name).cloned().ok_or_else(|| Fault::Validation(format!("Unknown fragment \"{name}\".")))
    }

    fn select(&mut self, node: &Node, selection: &cst::SelectionSet, into: &mut Map<String, Value>, depth: usize) -> Result<(), Fault> {
        if depth == DEEPEST {
            return Err(Fault::Syntax("too deep".to_owned()));
        }
        for item in selection.selections() {
            match item {
                cst::Selection::Field(field) => {
                    self.left = self.left.checked_sub(1).ok_or_else(|| Fault::Syntax("too many fields".to_owned()))?;
                    let name = name_of(&field)?;
                    let key = field.alias().and_then(|alias| alias.name()).map_or_else(|| name.clone(), |alias| alias.text().to_string());
                    let arguments = self.arguments(&field)?;
                    let answer = node.resolve(self.world, &name, &arguments)?.ok_or_else(|| unknown(&name, node))?;
                    let value = self.finish(answer, field.selection_set().as_ref(), depth)?;
                    into.insert(key, value);
                }
                cst::Selection::FragmentSpread(spread) => {
                    let set = self.fragment(&spread)?;
                    self.select(node, &set, into, depth + 1)?;
                }
                cst::Selection::InlineFragment(fragment) => self.select(node, &inline(&fragment)?, into, depth + 1)?,
            }
        }
        Ok(())
    }

    fn finish(&mut self, answer: Answer, below: Option<&cst::SelectionSet>, depth: usize) -> Result<Value, Fault> {
        let mut object = |node: &Node| {
            let below = below.ok_or_else(|| Fault::Validation(format!("A field of type \"{}\" must have a selection of subfields.", node.type_name())))?;
            let mut data = Map::new();
            self.select(node, below, &mut data, depth + 1)?;
            Ok(Value::Object(data))
        };
        match answer {
            Answer::Leaf(value) => Ok(value),
            Answer::One(node) => object(&node),
            Answer::Many(nodes) => nodes.iter().map(object).collect::<Result<Vec<_>, _>>().map(Value::Array),
        }
    }

    fn arguments(&self, field: &cst::Field) -> Result<Map<String, Value>, Fault> {
        let mut found = Map::new();
        for argument in field.arguments().into_iter().flat_map(|all| all.arguments()) {
            if let (Some(name), Some(value)) = (argument.name(), argument.value()) {
                found.insert(name.text().to_string(), literal(&value, self.variables, 0)?);
            }
        }
        Ok(found)
    }
}

fn unknown(name: &str, node: &Node) -> Fault {
    Fault::Validation(format!("Cannot query field \"{name}\" on type \"{}\".", node.type_name()))
}

fn name_of(field: &cst::Field) -> Result<String, Fault> {
    field.name().map(|name| name.text().to_string()).ok_or_else(|| Fault::Syntax("a field without a name".to_owned()))
}

fn inline(fragment: &cst::InlineFragment) -> Result<cst::SelectionSet, Fault> {
    fragment.selection_set().ok_or_else(|| Fault::Syntax("an empty fragment".to_owned()))
}

/// A literal as JSON, variables put in.
fn literal(value: &cst::Value, variables: &Map<String, Value>, depth: usize) -> Result<Value, Fault> {
    if depth == DEEPEST {
        return Err(Fault::Syntax("too deep".to_owned()));
    }
    let number = |text: String| serde_json::from_str(text.trim()).unwrap_or(Value::String(text));
    Ok(match value {
        cst::Value::Variable(variable) => variable.name().and_then(|name| variables.get(name.text().as_str()).cloned()).unwrap_or(Value::Null),
        cst::Value::StringValue(text) => Value::String(String::from(text)),
        cst::Value::IntValue(int) => number(int.syntax().text().to_string()),
        cst::Value::FloatValue(float) => number(float.syntax().text().to_string()),
        cst::Value::BooleanValue(truth) => Value::Bool(truth.true_token().is_some()),
        cst::Value::NullValue(_) => Value::Null,
        cst::Value::EnumValue(name) => Value::String(name.name().map(|name| name.text().to_string()).unwrap_or_default()),
        cst::Value::ListValue(list) => Value::Array(list.values().map(|item| literal(&item, variables, depth + 1)).collect::<Result<_, _>>()?),
        cst::Value::ObjectValue(object) => {
            let mut fields = Map::new();
            for field in object.object_fields() {
                if let (Some(name), Some(item)) = (field.name(), field.value()) {
                    fields.insert(name.text().to_string(), literal(&item, variables, depth + 1)?);
                }
            }
            Value::Object(fields)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::railway::world::Target;

    fn ask(world: &mut World, right: Right, query: &str, variables: Value) -> Value {
        let Value::Object(variables) = variables else { panic!("variables are an object") };
        answer(world, right, &Request { query: query.to_owned(), operation_name: None, variables })
    }

    fn world() -> (World, Target) {
        World::new().unwrap()
    }

    #[test]
    fn one_mutation_takes_the_volume_and_its_backups() {
        let (mut world, target) = world();
        let backups = world.backups();
        let query = format!("mutation {{ volumeDelete(volumeId: \"{}\") }}", target.volume.id);
        assert_eq!(ask(&mut world, Right::Everything, &query, json!({})), json!({ "data": { "volumeDelete": true } }));
        assert!(world.backups() < backups && world.applied.len() == 1);
    }

    #[test]
    fn aliases_fragments_and_variables_are_the_same_mutation() {
        for query in [
            "mutation($v: String!) { me: volumeDelete(volumeId: $v) }",
            "mutation($v: String!) { ...f } fragment f on Mutation { volumeDelete(volumeId: $v) }",
            "mutation($v: String!) { ... on Mutation { volumeDelete(volumeId: $v) } }",
        ] {
            let (mut world, target) = world();
            let got = ask(&mut world, Right::Everything, query, json!({ "v": target.volume.id }));
            assert!(got.get("errors").is_none(), "{got}");
            assert_eq!(world.applied.len(), 1, "{query}");
        }
    }

    #[test]
    fn the_token_for_looking_changes_nothing() {
        let (mut world, target) = world();
        let query = format!("mutation {{ volumeDelete(volumeId: \"{}\") }}", target.volume.id);
        for right in [Right::Read, Right::Nothing] {
            let got = ask(&mut world, right, &query, json!({}));
            assert_eq!(got["errors"][0]["message"], "Not Authorized");
        }
        assert!(world.applied.is_empty() && world.mutations_received == 2);
    }

    #[test]
    fn a_wrong_field_beside_a_right_one_stops_both() {
        let (mut world, target) = world();
        let query = format!("mutation {{ volumeDelete(volumeId: \"{}\") nonsense }}", target.volume.id);
        let got = ask(&mut world, Right::Everything, &query, json!({}));
        assert_eq!(got["errors"][0]["message"], "Cannot query field \"nonsense\" on type \"Mutation\".");
        assert!(world.applied.is_empty());
    }

    #[test]
    fn syntax_and_bombs_are_errors() {
        let (mut world, _) = world();
        for query in ["mutation {", "", "{ a }", "query { ...f } fragment f on Query { ...f }"] {
            assert!(ask(&mut world, Right::Everything, query, json!({}))["errors"].is_array(), "{query}");
        }
    }
}
