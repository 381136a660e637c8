//! Package managers: their questions that are POSTs, and what publishes or withdraws, by shape and on any host.

use agentbox_core::{Effect, Operation};
use http::Method;
use serde_json::Value;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    call::Call,
    content::{Content, Kind, Media},
    http_rules,
    route::Route,
};

/// Most bytes of a published package that are read to recognise it; most publish bodies carry the archive inside.
const LONGEST_PUBLISH: usize = 32 << 20;

/// Registries of all languages.
pub(crate) struct Packages;

/// Which step of which package manager, by method, path and content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// npm, pnpm and yarn ask for advisories with the names of what is installed.
    Audit,
    /// npm: `PUT /name` with `_attachments`, or without them a change of metadata.
    NpmPut,
    /// npm: `DELETE /name/-/name-1.0.0.tgz/-rev/…` and `DELETE /name/-rev/…`.
    NpmUnpublish,
    /// npm: `DELETE /-/npm/v1/tokens/token/…` and `/-/user/token/…` log out, `DELETE /-/package/name/dist-tags/…` takes a name from a version.
    NpmLight,
    /// cargo: `PUT /api/v1/crates/new`.
    CargoPublish,
    /// cargo: `DELETE …/yank`: the version can no longer be chosen; it is not removed.
    CargoYank,
    /// twine: a multipart form with `:action=file_upload`.
    PythonUpload,
    /// gem: `POST /api/v1/gems`.
    GemPush,
    /// gem: `DELETE /api/v1/gems/yank`.
    GemYank,
}

fn step(head: &Head<'_>, route: &Route) -> Option<Step> {
    if !route.is_plain() {
        return None;
    }
    let segments: Vec<&str> = route.segments().collect();
    let method = head.method;
    let media = Media::of(head.headers);
    if *method == Method::POST {
        let audit = route.ends_with(&["-", "npm", "v1", "security", "advisories", "bulk"])
            || route.ends_with(&["-", "npm", "v1", "security", "audits"])
            || route.ends_with(&["-", "npm", "v1", "security", "audits", "quick"]);
        return match segments.as_slice() {
            _ if audit => Some(Step::Audit),
            [.., "api", "v1", "gems"] if media.kind == Kind::Data => Some(Step::GemPush),
            _ if media.kind == Kind::Multipart => Some(Step::PythonUpload),
            _ => None,
        };
    }
    if *method == Method::PUT {
        return match segments.as_slice() {
            [.., "api", "v1", "crates", "new"] => Some(Step::CargoPublish),
            _ if media.kind == Kind::Json => Some(Step::NpmPut),
            _ => None,
        };
    }
    if *method == Method::DELETE {
        return match segments.as_slice() {
            [.., "api", "v1", "crates", _, _, "yank"] => Some(Step::CargoYank),
            [.., "api", "v1", "gems", "yank"] => Some(Step::GemYank),
            [.., "-rev", _] => Some(Step::NpmUnpublish),
            ["-", "npm", "v1", "tokens", "token", _] | ["-", "user", "token", _] | ["-", "package", _, "dist-tags", _] => Some(Step::NpmLight),
            _ => None,
        };
    }
    None
}

impl Api for Packages {
    fn wants(&self, head: &Head<'_>, route: &Route) -> Option<BodyWant> {
        match step(head, route)? {
            Step::CargoPublish | Step::CargoYank | Step::GemPush | Step::GemYank | Step::NpmUnpublish | Step::NpmLight => Some(BodyWant::Nothing),
            Step::NpmPut => Some(BodyWant::UpTo(LONGEST_PUBLISH)),
            Step::Audit => Some(BodyWant::UpTo(http_rules::LONGEST_BODY)),
            // Its first field tells; the usual bound for forms is enough.
            Step::PythonUpload => None,
        }
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        let make = |effect, action: &str, why: &str| Some(Reading::one(Operation::new(effect, action, http_rules::resource(call), why)));
        match step(call.head, &call.route)? {
            // The path alone makes nothing harmless: it must be the question, too.
            Step::Audit => match call.content() {
                Content::Json(Value::Object(object)) if is_list_of_packages(object) => {
                    make(Effect::Read, "package.audit", "asks for advisories about installed packages")
                }
                _ => None,
            },
            Step::CargoPublish | Step::GemPush => make(Effect::Write, "package.publish", "publishes a package version, for good"),
            Step::CargoYank | Step::GemYank => make(Effect::Destroy, "package.yank", "withdraws a published version"),
            Step::NpmLight => make(Effect::Write, "package.name", "removes a token or a version's second name"),
            Step::NpmUnpublish => make(Effect::Destroy, "package.unpublish", "removes a published package or version"),
            Step::NpmPut => match call.content() {
                Content::Json(Value::Object(object)) if object.contains_key("_attachments") => {
                    make(Effect::Write, "package.publish", "publishes a package version, for good")
                }
                // The same document with fewer versions is how npm unpublishes one of several.
                Content::Json(Value::Object(object)) if object.contains_key("versions") && object.contains_key("_rev") => {
                    make(Effect::Destroy, "package.unpublish", "replaces a package's list of versions")
                }
                _ => None,
            },
            Step::PythonUpload => match call.content() {
                Content::Multipart(parts) if parts.iter().any(|part| part.name == ":action" && part.text.as_deref() == Some("file_upload")) => {
                    make(Effect::Write, "package.publish", "publishes a package version, for good")
                }
                _ => None,
            },
        }
    }
}

/// Fields of the older question, in which a tree of what is installed stands; the newer one is names with their versions.
const TREE: &[&str] =
    &["name", "version", "requires", "dependencies", "install", "remove", "metadata", "node_version", "npm_version", "platform", "lockfileVersion", "packages"];

/// Nothing else may ride along: `{"query": "mutation …"}` is no list of packages.
fn is_list_of_packages(object: &serde_json::Map<String, Value>) -> bool {
    let is_versions = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    object.values().all(is_versions) || (object.keys().all(|key| TREE.contains(&key.as_str())) && object.get("dependencies").is_some_and(Value::is_object))
}
