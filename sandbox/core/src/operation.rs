//! One thing that a request would do, told in the policy's words.

use serde::{Deserialize, Serialize};

use crate::{Effect, Resource};

/// Longest action name; longer ones are cut and end in `?`, which no rule can name.
const LONGEST: usize = 160;

/// A dotted name like `railway.volumeDelete` or `http.delete`; rules in the policy match it.
///
/// Made of `[A-Za-z0-9._-]`; any other byte of a hostile name becomes `?`, which no rule can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Action(String);

impl Action {
    /// Makes an action; see the type for what becomes of unexpected bytes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '?' };
        let mut text: String = name.chars().take(LONGEST).map(clean).collect();
        if name.chars().nth(LONGEST).is_some() {
            text.push('?');
        }
        if text.is_empty() {
            text.push('?');
        }
        Self(text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Action {
    fn from(name: String) -> Self {
        Self::new(&name)
    }
}

impl From<Action> for String {
    fn from(action: Action) -> String {
        action.0
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a party that acts for the request could reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Any host and any resource: the strictest place of the whole policy decides.
    Anywhere,
    /// These hosts only (`name` or `name:port`).
    Hosts(Vec<String>),
}

/// The request makes another party act, from that party's own network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Where it could act.
    pub reach: Reach,
    /// One sentence for the card: who acts, and with what.
    pub why: String,
}

/// What a request would do to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// How bad it is.
    pub effect: Effect,
    /// Its name.
    pub action: Action,
    /// What it would touch.
    pub resource: Resource,
    /// One sentence: why the effect is this one.
    pub reason: String,
    /// Set when another party would act for the request: judged as opaque wherever that party could reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegates: Option<Delegation>,
    /// The answer hands out a secret: held in protected places.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yields_credential: bool,
}

impl Operation {
    /// An operation without further facts.
    #[must_use]
    pub fn new(effect: Effect, action: &str, resource: Resource, reason: impl Into<String>) -> Self {
        Self { effect, action: Action::new(action), resource, reason: reason.into(), delegates: None, yields_credential: false }
    }
}
