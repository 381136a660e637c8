//! Puts the layers in order, each on top of what it extends.

use std::sync::Arc;

use super::{Context, LayerKind, LayerText, PolicyError, Resolve, parse, raw::RawLayer, source::Source};
use crate::{Digest, safe};

/// A chain of `extends` longer than this is a mistake.
const DEEPEST: usize = 16;

/// A file and the layer that brought it in.
#[derive(Clone, Debug)]
pub(super) struct Layered {
    pub(super) raw: Arc<RawLayer>,
    /// The kind of the layer that extends it, however far up: what an untrusted file extends is not trusted either.
    pub(super) brought_by: LayerKind,
}

impl Layered {
    pub(super) fn is_untrusted(&self) -> bool {
        self.brought_by == LayerKind::Repository { trusted: false }
    }
}

/// Reads the layers and all that they extend; what is extended comes before what extends it.
pub(super) fn expand(layers: Vec<LayerText>, context: &Context, resolve: &mut Resolve<'_>) -> Result<Vec<Layered>, PolicyError> {
    let mut all = Vec::new();
    for text in layers {
        let brought_by = text.kind;
        follow(text, resolve, &mut |source| parse::parse(source, context), &mut |raw| all.push(Layered { raw, brought_by }))?;
    }
    Ok(all)
}

/// Walks one chain of `extends` and hands over its files, the deepest first.
fn follow(
    text: LayerText,
    resolve: &mut Resolve<'_>,
    read: &mut dyn FnMut(&Arc<Source>) -> Result<RawLayer, PolicyError>,
    found: &mut dyn FnMut(Arc<RawLayer>),
) -> Result<(), PolicyError> {
    let kind = text.kind;
    let mut chain: Vec<Arc<RawLayer>> = Vec::new();
    let mut next = Some(text);
    while let Some(text) = next.take() {
        let raw = Arc::new(read(&Source::open(text)?)?);
        if let Some(extends) = &raw.extends {
            let mut parent = resolve(&extends.value, &raw.source.base).map_err(|why| extends.mark.error(&safe::line(&why, 300), None))?;
            // A shipped profile stays one; any other file is as much as the one that extends it.
            if parent.kind != LayerKind::Profile {
                parent.kind = kind;
            }
            let name = safe::line(&parent.name, 200);
            if name == raw.source.name || chain.iter().any(|layer| layer.source.name == name) {
                return Err(extends.mark.error(&format!("{name} extends itself, by way of this line"), None));
            }
            if chain.len() >= DEEPEST {
                return Err(extends.mark.error(&format!("more than {DEEPEST} files extend each other"), None));
            }
            next = Some(parent);
        }
        chain.push(raw);
    }
    chain.into_iter().rev().for_each(found);
    Ok(())
}

/// The files that count, each once, in order. A file that the profile layer brought is not brought again by a later
/// one, and no layer brings one twice: it would undo what came between.
pub(super) fn stack<'a>(all: &'a [Layered], counts: &dyn Fn(&Layered) -> bool) -> Vec<&'a Layered> {
    let mut stack: Vec<&Layered> = Vec::new();
    for layer in all.iter().filter(|layer| counts(layer)) {
        let again = stack
            .iter()
            .any(|other| other.raw.source.name == layer.raw.source.name && (other.brought_by == LayerKind::Profile || other.brought_by == layer.brought_by));
        if !again {
            stack.push(layer);
        }
    }
    stack
}

/// What trust in a repository's policy is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Over the names and texts of all files.
    pub digest: Digest,
    /// Each file's name and text: `agentbox.toml` first, then what it extends, step by step.
    pub files: Vec<(String, String)>,
}

/// The digest of a repository's policy and of all that it extends.
///
/// # Errors
/// One of them cannot be read as a policy.
pub fn bind(text: LayerText, context: &Context, resolve: &mut Resolve<'_>) -> Result<Binding, PolicyError> {
    let mut files = Vec::new();
    follow(text, resolve, &mut |source| parse::parse(source, context), &mut |raw| files.push((raw.source.name.clone(), raw.source.text.clone())))?;
    files.reverse();
    let digest = Digest::of(files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]));
    Ok(Binding { digest, files })
}
