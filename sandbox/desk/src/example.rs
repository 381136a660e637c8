//! Holds for tests: a real policy judges, since nothing else can make one.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use agentbox_core::{
    Credential, Destination, Digest, Effect, Evidence, Hold, HostName, Judgement, Lineage, Operation, Request, Resource, ResourceId,
    look::Seen,
    policy::{Context, LayerKind, LayerText, Policy},
};

const POLICY: &str = r#"
[place.production]
hosts     = ["api.example.com"]
resources = ["railway:environment/production"]
read      = "allow"
write     = "hold"
destroy   = "hold"

[place.vault]
resources = ["railway:environment/vault"]
destroy   = "hold"
approvers = 2
confirm   = "name"

[approval]
patience = "15m"
"#;

/// The policy that all tests here use.
pub(crate) fn policy() -> &'static Policy {
    static POLICY_ONCE: OnceLock<Policy> = OnceLock::new();
    POLICY_ONCE.get_or_init(|| {
        let layer = LayerText { name: "test.toml".to_owned(), base: PathBuf::from("/w"), kind: LayerKind::User, bytes: POLICY.as_bytes().to_vec() };
        let context = Context { home: PathBuf::from("/home/u"), workspace: PathBuf::from("/w"), ..Context::default() };
        Policy::load(vec![layer], &context, &mut |name: &str, _: &Path| Err(format!("no {name}"))).unwrap()
    })
}

/// A request that would destroy a volume which lies in `environment`.
pub(crate) fn request(number: u8, environment: &str) -> Request {
    let resource = ResourceId::new("railway", "volume/3d2c9a");
    let lineage = Lineage::Known(vec![vec![ResourceId::new("railway", &format!("environment/{environment}"))]]);
    let operation = Operation::new(Effect::Destroy, "railway.volumeDelete", Resource { id: resource, lineage }, "deletes a volume with all its backups");
    Request {
        operations: vec![operation],
        destination: Some(Destination { host: HostName::parse("api.example.com").unwrap(), port: 443, addresses: Vec::new() }),
        digest: Digest::of([[number].as_slice()]),
        evidence: Evidence {
            summary: "POST https://api.example.com/graphql/v2".to_owned(),
            excerpt: "mutation { volumeDelete(volumeId: \"3d2c9a\") }".to_owned(),
            who: vec!["curl (pid 12)".to_owned(), "bash (pid 7)".to_owned()],
            fingerprints: Vec::new(),
            credentials: vec![Credential { position: "authorization header (Bearer)".to_owned(), name: "unknown, ends in …7f3a".to_owned(), issued: false }],
            seen: None,
            undo: None,
            unseen: None,
            connection: None,
            process: None,
        },
    }
}

/// The hold of a request.
pub(crate) fn hold_of(request: Request) -> Hold {
    match policy().judge(request) {
        Judgement::Hold(hold) => *hold,
        other @ (Judgement::Allow(_) | Judgement::Deny(_)) => panic!("the policy must hold it: {other:?}"),
    }
}

/// A hold that one person settles.
pub(crate) fn hold(number: u8) -> Hold {
    hold_of(request(number, "production"))
}

/// The same with something seen.
pub(crate) fn hold_with(seen: Seen) -> Hold {
    let mut request = request(1, "production");
    request.evidence.seen = Some(seen);
    hold_of(request)
}
