//! AWS: which operation of which service a request calls, in all of its dialects (query, JSON, CBOR, REST), and S3's.

use agentbox_core::{Effect, Operation};
use http::Method;

use super::{
    BodyWant, Head,
    api::{Api, Reading},
    bodies::{self, Around, Found},
    call::Call,
    content::{Content, Kind, Media},
    http_rules::{self, safe},
    marks, paths,
    refusal_clouds::AwsAnswer,
    route::Route,
    rpc, words,
};

/// AWS by its hosts.
pub(crate) struct Aws;

/// Operations whose names tell otherwise than what they do: service, operation, effect, why.
const CORRECTIONS: &[Correction] = &[
    ("athena", "StartQueryExecution", Effect::Write, "runs a statement"),
    ("backup", "CancelLegalHold", Effect::Destroy, "what the hold kept can be deleted again"),
    ("backup", "DeleteBackupVaultLockConfiguration", Effect::Destroy, "what the lock kept can be deleted again"),
    ("codeartifact", "DisposePackageVersions", Effect::Destroy, "deletes the versions' assets for good"),
    ("ec2", "CreateReplaceRootVolumeTask", Effect::Destroy, "puts another state in the place of a machine's disk"),
    ("docdb", "RestoreDBClusterFromSnapshot", Effect::Write, "makes a new cluster"),
    ("docdb", "RestoreDBClusterToPointInTime", Effect::Write, "makes a new cluster"),
    ("dynamodb", "RestoreTableFromBackup", Effect::Write, "makes a new table"),
    ("dynamodb", "RestoreTableToPointInTime", Effect::Write, "makes a new table"),
    ("dynamodb", "UpdateTimeToLive", Effect::Destroy, "items whose time has passed are deleted"),
    ("kms", "ScheduleKeyDeletion", Effect::Destroy, "what the key encrypted can never be read again"),
    ("rds", "RestoreDBClusterFromS3", Effect::Write, "makes a new cluster"),
    ("rds", "RestoreDBClusterFromSnapshot", Effect::Write, "makes a new cluster"),
    ("rds", "RestoreDBClusterToPointInTime", Effect::Write, "makes a new cluster"),
    ("rds", "RestoreDBInstanceFromDBSnapshot", Effect::Write, "makes a new instance"),
    ("rds", "RestoreDBInstanceFromS3", Effect::Write, "makes a new instance"),
    ("rds", "RestoreDBInstanceToPointInTime", Effect::Write, "makes a new instance"),
    ("redshift", "RestoreFromClusterSnapshot", Effect::Write, "makes a new cluster"),
    ("redshift", "RestoreTableFromClusterSnapshot", Effect::Write, "makes a new table"),
    ("route53", "DeleteKeySigningKey", Effect::Destroy, "names signed by the key are no longer believed"),
    // A consumer says that it has done with a message.
    ("sqs", "DeleteMessage", Effect::Write, "says that a message has been dealt with"),
    ("workspaces", "RestoreWorkspace", Effect::Destroy, "puts an older state in the place of somebody's machine"),
    ("sqs", "DeleteMessageBatch", Effect::Write, "says that messages have been dealt with"),
];

/// Services that guard or record as a whole: switching one off, or a part of one, leaves others unwatched.
const GUARDS: &[&str] = &[
    "access-analyzer",
    "auditmanager",
    "backup",
    "cloudtrail",
    "config",
    "detective",
    "dlm",
    "guardduty",
    "inspector2",
    "macie2",
    "securityhub",
    "shield",
    "wafv2",
    "waf",
    "monitoring",
    "logs",
];

/// Whether the whole service guards or records.
#[must_use]
pub(crate) fn is_guard(head: &Head<'_>) -> bool {
    rpc::is_aws(head) && GUARDS.contains(&service(head.host.as_str()))
}

type Correction = (&'static str, &'static str, Effect, &'static str);

fn correction(service: &str, name: &str) -> Option<&'static Correction> {
    CORRECTIONS.iter().find(|(of, operation, ..)| *of == service && *operation == name)
}

impl Api for Aws {
    fn wants(&self, head: &Head<'_>, _route: &Route) -> Option<BodyWant> {
        // What is stored may be as long as it likes: enough of it is read to see that it is data.
        let is_data = Media::of(head.headers).kind == Kind::Data || (is_s3(head) && *head.method == Method::PUT);
        (rpc::is_aws(head) && !is_data).then_some(BodyWant::UpTo(http_rules::LONGEST_BODY))
    }

    fn read(&self, call: &Call<'_>) -> Option<Reading> {
        if !rpc::is_aws(call.head) || call.head.headers.contains_key(http::header::UPGRADE) {
            return None;
        }
        if is_s3(call.head) {
            return s3(call).map(|(effect, why)| Reading::one(Operation::new(effect, "aws.s3", http_rules::resource(call), why)));
        }
        let service = service(call.head.host.as_str());
        let name = operation(call)?;
        let (effect, why) = judge(call, service, &name);
        let operation = Operation::new(effect, &format!("aws.{service}.{name}"), http_rules::resource(call), why);
        Some(Reading::one(marks::of_call(operation, &name)))
    }
}

/// `rds` of `rds.us-east-1.amazonaws.com`; of `runtime.sagemaker.…` the part before the region counts.
#[must_use]
pub(crate) fn service(host: &str) -> &str {
    let mut labels = host.split('.');
    let first = labels.next().unwrap_or_default();
    match labels.next() {
        Some(second)
            if matches!(first, "api" | "runtime" | "data" | "query" | "ingest" | "control")
                && !second.contains('-')
                && !matches!(second, "amazonaws" | "api") =>
        {
            second
        }
        _ => first,
    }
}

/// All of a service's name, as its descriptions have it: `runtime.sagemaker` of `runtime.sagemaker.us-east-1.amazonaws.com`.
#[must_use]
pub(crate) fn full_service(host: &str) -> Option<&str> {
    let name = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().find_map(|suffix| host.strip_suffix(suffix))?;
    // `us-gov-west-1`; no `s3-website-us-east-1`, before which stands a name of a customer's.
    let is_region = |label: &str| {
        let parts: Vec<&str> = label.split('-').collect();
        parts.len() >= 3
            && parts.first().is_some_and(|first| first.len() == 2 && first.bytes().all(|b| b.is_ascii_lowercase()))
            && label.ends_with(|c: char| c.is_ascii_digit())
    };
    let name = name.strip_suffix(".dualstack").unwrap_or(name);
    let name = match name.rsplit_once('.') {
        Some((service, region)) if is_region(region) => service,
        _ => name,
    };
    // An account's number goes before some names, and may be anything's; the FIPS twin is the same service.
    let name = match name.split_once('.') {
        Some((account, rest)) if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => name,
    };
    Some(name.strip_suffix("-fips").unwrap_or(name))
}

/// What an operation's name says, with the exceptions that are known.
#[must_use]
pub(crate) fn by_name(service: &str, name: &str) -> Option<Found> {
    let said = |effect| (effect, format!("it calls {}", safe(name)));
    let reads = ["Describe", "Get", "List", "BatchGet", "Head"]
        .iter()
        .any(|verb| name.strip_prefix(verb).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())));
    if reads {
        return Some(said(Effect::Read));
    }
    correction(service, name)
        .map(|(_, _, effect, why)| (*effect, (*why).to_owned()))
        .or_else(|| words::effect_of(name).map(said))
        .or_else(|| ends_a_guard(service, name).then(|| said(Effect::Destroy)))
}

/// In which of AWS's protocols a refusal is read.
#[must_use]
pub(crate) fn answer(call: &Call<'_>) -> AwsAnswer {
    let service = service(call.head.host.as_str());
    let is_query = call.route.values("Action").next().is_some() || call.media.essence == "application/x-www-form-urlencoded";
    match () {
        () if is_s3(call.head) => AwsAnswer::S3,
        () if service == "ec2" => AwsAnswer::Ec2,
        () if is_query || matches!(service, "route53" | "cloudfront" | "s3-control") => AwsAnswer::Xml,
        () => AwsAnswer::Json,
    }
}

/// The operation's own name, where the request tells it: a name of letters and digits, or none.
fn operation(call: &Call<'_>) -> Option<String> {
    // Only the dialects that have one path for all calls name them so; a REST service acts on method and path, and takes no notice of a
    // header or a query that somebody adds. SQS has its queues in the path.
    let is_rpc = *call.head.method == Method::POST || *call.head.method == Method::GET;
    let at_root = call.route.segments().next().is_none();
    if !is_rpc || !(at_root || service(call.head.host.as_str()) == "sqs" || call.route.segments().next() == Some("service")) {
        return None;
    }
    let mut targets = call.header_values("x-amz-target");
    let header = targets.next().flatten().and_then(|target| target.rsplit('.').next()).map(str::to_owned);
    // The services that look at the header take JSON; another body may be one that others look at.
    if header.is_some() && !matches!(call.content(), Content::Json(_) | Content::Empty) {
        return None;
    }
    let (query, form): (Vec<&str>, _) = (
        call.route.values("Action").collect(),
        match call.content() {
            Content::Form(pairs) => pairs.iter().filter(|(name, _)| name == "Action").map(|(_, value)| value.clone()).collect::<Vec<_>>(),
            _ => Vec::new(),
        },
    );
    let segments: Vec<&str> = call.route.segments().collect();
    let path = match segments.as_slice() {
        ["service", _, "operation", name] => Some((*name).to_owned()),
        _ => None,
    };
    let mut names: Vec<String> = header.into_iter().chain(query.into_iter().map(str::to_owned)).chain(form).chain(path).collect();
    names.dedup();
    // Two names in one request: which counts is the service's secret.
    let name = if names.len() == 1 { names.pop()? } else { return None };
    (targets.next().is_none() && name.len() <= 100 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
}

fn judge(call: &Call<'_>, service: &str, name: &str) -> Found {
    let by_name = by_name(service, name);
    if let Some((Effect::Read, why)) = by_name {
        // What AWS itself names as a read carries no order in its body.
        return (Effect::Read, why);
    }
    if is_trial(call, service) {
        return (Effect::Read, format!("it only asks whether {} would be allowed", safe(name)));
    }
    if let Some((Effect::Destroy, why)) = by_name {
        return (Effect::Destroy, why);
    }
    if let ("sqs", Some((_, _, effect, why))) = (service, correction(service, name)) {
        return (*effect, (*why).to_owned());
    }
    if let Some(why) = http_rules::unreadable(call) {
        return (Effect::Opaque, format!("{} with a body that cannot be read: {why}", safe(name)));
    }
    let mut around = Around::name(name);
    if GUARDS.contains(&service) {
        around.words.push("monitoring".to_owned());
    }
    bodies::destroys(call.content(), &around).or(by_name).unwrap_or_else(|| (Effect::Write, format!("it calls {}, which writes", safe(name))))
}

/// `StopConfigurationRecorder`, `DisableSecurityHub`: of a service that guards, any part that is switched off.
fn ends_a_guard(service: &str, name: &str) -> bool {
    GUARDS.contains(&service) && words::split(name).first().is_some_and(|first| matches!(first.as_str(), "disable" | "stop" | "disassociate" | "suspend"))
}

/// EC2 alone has a trial run, and says so in an answer of its own.
fn is_trial(call: &Call<'_>, service: &str) -> bool {
    let says = |pairs: &[(String, String)]| {
        let mut values = pairs.iter().filter(|(name, _)| name == "DryRun").map(|(_, value)| value.as_str());
        values.next() == Some("true") && values.next().is_none()
    };
    service == "ec2"
        && match call.content() {
            Content::Form(pairs) => says(pairs) && call.route.values("DryRun").next().is_none(),
            Content::Empty => says(call.route.query().unwrap_or_default()),
            _ => false,
        }
}

/// S3's own hosts. Those that speak like it elsewhere are judged by the general rules: a header of the client's makes nothing harmless.
/// Its control plane (`s3-control`) and its other services are no stores of objects.
fn is_s3(head: &Head<'_>) -> bool {
    let is_label = |label: &str| {
        let region = label.strip_prefix("s3-").unwrap_or_default();
        label == "s3"
            || label == "s3-accelerate"
            || label == "s3-fips"
            || (region.starts_with(|c: char| c.is_ascii_lowercase()) && region.ends_with(|c: char| c.is_ascii_digit()))
    };
    rpc::is_aws(head) && head.host.as_str().split('.').any(is_label)
}

/// What a request to S3 does, where its shape tells; `None` leaves it to the general rules.
fn s3(call: &Call<'_>) -> Option<Found> {
    let query = call.route.query()?;
    let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with("x-id") && !name.starts_with("X-Amz-")).collect();
    let only = |allowed: &[&str]| !names.is_empty() && names.iter().all(|name| allowed.contains(name));
    let found = |effect, why: &str| Some((effect, why.to_owned()));
    match call.head.method.as_str() {
        "DELETE" if only(&["tagging", "versionId"]) && names.contains(&"tagging") => found(Effect::Write, "it removes tags"),
        "DELETE" if only(&["uploadId"]) => found(Effect::Write, "it gives up an upload that was never finished"),
        "DELETE" => found(Effect::Destroy, "it deletes an object, a bucket or a protection of one"),
        "PUT" if names.contains(&"lifecycle") => lifecycle(call),
        "PUT" if names.contains(&"logging") && text(call).is_some_and(|text| !text.contains("LoggingEnabled")) => {
            found(Effect::Destroy, "it switches logging off")
        }
        "PUT" if names.contains(&"publicAccessBlock") && text(call).is_some_and(|text| text.contains("false")) => {
            found(Effect::Destroy, "it takes a protection off")
        }
        "PUT" if names.contains(&"replication") && text(call).is_none_or(|text| !text.contains("<Status>Enabled<")) => {
            found(Effect::Destroy, "it switches replication off")
        }
        "PUT" if names.contains(&"legal-hold") && text(call).is_none_or(|text| !text.contains("<Status>ON<")) => {
            found(Effect::Destroy, "it lifts a legal hold")
        }
        "PUT" if names.contains(&"object-lock") && text(call).is_none_or(|text| !text.contains("<DefaultRetention>")) => {
            found(Effect::Destroy, "it takes the lock of new objects off")
        }
        "PUT" if names.contains(&"retention") && call.header_values("x-amz-bypass-governance-retention").next().is_some() => {
            found(Effect::Destroy, "it shortens a retention that was meant to hold")
        }
        // An object's content is nobody's order.
        "PUT" if names.iter().all(|name| matches!(*name, "partNumber" | "uploadId" | "versionId")) => found(Effect::Write, "it puts an object"),
        "POST" if names.contains(&"delete") => match call.content() {
            Content::Text(_) | Content::Empty => found(Effect::Destroy, "it deletes many objects"),
            _ => found(Effect::Opaque, "it deletes objects that cannot be read"),
        },
        "POST" if only(&["select", "select-type"]) => found(Effect::Read, "it selects from an object"),
        "POST" if only(&["uploads"]) || only(&["uploadId"]) || only(&["restore", "versionId"]) => found(Effect::Write, "it writes an object"),
        _ => None,
    }
}

/// Rules that are on and let objects expire; moving them to another class or giving up unfinished uploads loses nothing.
fn lifecycle(call: &Call<'_>) -> Option<Found> {
    let Some(text) = text(call) else { return Some((Effect::Opaque, "a lifecycle that cannot be read".to_owned())) };
    let expires = text.split("<Rule").skip(1).any(|rule| rule.contains("Expiration>") && !rule.contains("<Status>Disabled"));
    Some(if expires { (Effect::Destroy, "it lets objects expire".to_owned()) } else { (Effect::Write, "it sets rules by which nothing expires".to_owned()) })
}

fn text<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    match call.content() {
        Content::Text(text) => Some(text),
        _ => None,
    }
}

/// `DELETE /tags/arn:…?tagKeys=…`: the same path in all of AWS's REST services.
#[must_use]
pub(crate) fn removes_tags(call: &Call<'_>) -> bool {
    let target = call.head.target;
    rpc::is_aws(call.head)
        && !is_s3(call.head)
        && (target.starts_with("/tags/arn") || target.starts_with("/v1/tags/arn") || target.starts_with("/v2/tags/arn"))
        && !target.contains("..")
        && paths::words(&call.route).first().is_some_and(|first| first == "tags")
}
