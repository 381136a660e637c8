//! The policy: a table of place × effect, its exceptions, and what the box needs to know before it starts.

pub mod settings;

use std::path::{Path, PathBuf};

pub use settings::Settings;

use crate::{
    Judgement, Refusal, RefusalKind, Request,
    verdict::{Because, Denied},
};

/// Which of the three layers a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// Shipped, from `policies/`.
    Profile,
    /// The repository's `agentbox.toml`, whose loosening counts only once a person trusts it.
    Repository {
        /// Whether `agentbox policy trust` has bound this very text and all that it extends.
        trusted: bool,
    },
    /// The user's own, which wins; `--policy FILE` counts as this.
    User,
}

/// The text of one layer, read by the caller.
#[derive(Clone, Debug)]
pub struct LayerText {
    /// As shown in errors.
    pub name: String,
    /// The folder that its relative paths start from.
    pub base: PathBuf,
    /// Which layer.
    pub kind: LayerKind,
    /// The file's bytes: may be anything.
    pub bytes: Vec<u8>,
}

/// What the policy's words are resolved against.
#[derive(Clone, Debug)]
pub struct Context {
    /// What `~` means.
    pub home: PathBuf,
    /// What `.` means for a profile or the user's layer: the workspace.
    pub workspace: PathBuf,
    /// For `expires`: when the box was started, Unix time in milliseconds.
    pub started: u64,
}

/// A policy that cannot be used, with line, column, caret and hint in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// Finds what `extends` names: a profile's name, or a path relative to the extending file's folder.
pub type Resolve<'a> = dyn FnMut(&str, &Path) -> Result<LayerText, String> + 'a;

/// A compiled policy. Plain data: it may be shared, and crosses to the broker by fork.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    warnings: Vec<String>,
}

impl Policy {
    /// Reads the layers, loosest first: profile, repository, user.
    ///
    /// # Errors
    /// Whatever is wrong with any of them.
    pub fn load(layers: Vec<LayerText>, context: &Context, resolve: &mut Resolve<'_>) -> Result<Self, PolicyError> {
        let _ = (layers, context, resolve);
        Ok(Self { settings: Settings::default(), warnings: Vec::new() })
    }

    /// What is likely not meant, for `policy check` and the start of a box.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All that is not the table.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The one judgement. The strictest of all operations decides.
    pub fn judge(&self, request: Request) -> Judgement {
        let because = Because { action: String::new(), place: "nowhere".into(), rule: "floor".into(), reason: "no policy yet".into() };
        let refusal = Refusal {
            kind: RefusalKind::Denied,
            operation: because.action.clone(),
            place: because.place.clone(),
            reason: because.reason.clone(),
            guidance: String::new(),
            approval_id: None,
        };
        Judgement::Deny(Box::new(Denied { request, because, refusal }))
    }
}
