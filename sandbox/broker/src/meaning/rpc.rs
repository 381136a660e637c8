//! Calls by name on top of HTTP: JSON-RPC, XML-RPC, AWS's dialects, `Action` in a form.

use agentbox_core::Effect;
use serde_json::Value;

use super::{Head, bodies::Found, call::Call, content::Content, http_rules::safe, words};

/// Most calls of one batch.
const MOST: usize = 64;

/// What the call's name says: only ever stricter than the method.
#[must_use]
pub(crate) fn named(call: &Call<'_>) -> Option<Found> {
    let targets = call.header_values("x-amz-target").flatten().filter_map(|target| target.rsplit('.').next()).map(str::to_owned);
    let headers = call.head.headers.iter().filter(|(name, _)| names_call(name.as_str())).filter_map(|(_, value)| value.to_str().ok());
    let headers = headers.map(|value| value.trim_matches('"').rsplit(['#', '.', '/']).next().unwrap_or_default().to_owned());
    let name = targets.chain(headers).chain(names(call)).find(|name| {
        // `vm.snapshot.rollback` is said of a snapshot.
        let own = last(name);
        let above = name.get(..name.len() - own.len()).map(words::split).unwrap_or_default();
        words::of_words(&words::split(own), &above) == Some(Effect::Destroy)
    })?;
    Some((Effect::Destroy, format!("it calls {}", safe(&name))))
}

/// Headers that name a call, as `x-tc-action`, `SOAPAction` and `x-restli-method` do; methods of HTTP in headers are judged elsewhere.
fn names_call(header: &str) -> bool {
    header == "soapaction"
        || (header.starts_with("x-") && ["-action", "-call-name", "-operation", "restli-method"].iter().any(|ending| header.ends_with(ending)))
}

/// `wp.deletePost` is called `deletePost`.
fn last(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

/// Names below which customers have hosts of their own (API gateways, load balancers, machines, search domains, websites): what is behind
/// them speaks as it likes.
const CUSTOMERS: &[&str] = &["execute-api", "elb", "elasticbeanstalk", "compute", "es", "aoss", "awsapprunner", "rds", "cache"];

/// Whether a host is AWS's own.
#[must_use]
pub(crate) fn is_aws(head: &Head<'_>) -> bool {
    let host = head.host.as_str();
    let Some(name) = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().find_map(|suffix| host.strip_suffix(suffix)) else { return false };
    // `es.us-east-1` is the service, `search-shop.us-east-1.es` a customer's.
    !name.split('.').skip(1).any(|label| CUSTOMERS.contains(&label) || label.starts_with("compute-") || label.starts_with("s3-website"))
}

/// Names of remote procedures in the body or the query: AWS's `Action`, JSON-RPC's `method`.
fn names(call: &Call<'_>) -> Vec<String> {
    let mut names: Vec<String> = call.route.values("Action").map(str::to_owned).collect();
    // `?Command=namecheap.domains.delete`: a name with what it is of.
    names
        .extend(["Command", "command", "method", "api"].iter().flat_map(|name| call.route.values(name)).filter(|value| value.contains('.')).map(str::to_owned));
    match call.content() {
        Content::Form(pairs) => names.extend(
            pairs
                .iter()
                .filter(|(name, value)| matches!(name.as_str(), "Action" | "method") || (name == "api" && value.contains('.')))
                .map(|(_, value)| value.clone()),
        ),
        Content::Json(Value::Object(object)) => names.extend(json_rpc(object)),
        Content::Json(Value::Array(items)) => names.extend(items.iter().take(MOST).filter_map(Value::as_object).filter_map(json_rpc)),
        _ => {}
    }
    names
}

fn json_rpc(object: &serde_json::Map<String, Value>) -> Option<String> {
    // Some leave the version out, and call by nothing but a method and its parameters.
    let params = object.get("params");
    object.get("jsonrpc").or(params)?;
    let name = object.get("method")?.as_str()?;
    // `{"method": "call", "params": {"service": "db", "method": "drop"}}`: the method is only how another one is called.
    let inner = params.filter(|_| is_dispatcher(name)).and_then(|params| match params {
        Value::Object(params) => dispatched(params),
        // `{"method": "one.vm.action", "params": ["…", "terminate-hard", 3]}`.
        Value::Array(params) => params.iter().take(MOST_ARGUMENTS).filter_map(Value::as_str).find(|argument| ends_records(argument)).map(str::to_owned),
        _ => None,
    });
    Some(inner.unwrap_or_else(|| name.to_owned()))
}

/// Methods that call another one, whose name is among their arguments.
pub(crate) fn is_dispatcher(name: &str) -> bool {
    matches!(last(name), "action" | "call" | "call_kw" | "call_button" | "execute" | "execute_kw" | "invoke" | "perform")
}

/// Most arguments among which the name of the method is looked for.
const MOST_ARGUMENTS: usize = 12;

/// The name of what is called, with what it is called on before it.
fn dispatched(params: &serde_json::Map<String, Value>) -> Option<String> {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let method = text("method")?;
    let on = ["service", "model", "object", "component"].iter().find_map(|name| text(name)).unwrap_or_default();
    if !is_dispatcher(method) {
        return Some(called_on(on, method));
    }
    let arguments: Vec<&str> = params.get("args")?.as_array()?.iter().take(MOST_ARGUMENTS).filter_map(Value::as_str).collect();
    let (model, method) = arguments.iter().zip(arguments.iter().skip(1)).find(|(_, method)| ends_records(method))?;
    Some(called_on(model, method))
}

/// `res.partner` and `unlink`: an object of a database is gone with its method of that name, whatever parts elsewhere.
fn called_on(model: &str, method: &str) -> String {
    format!("{model}.{}", if ends_records(method) { "delete" } else { method })
}

/// Methods of models of records that delete them, called by themselves.
pub(crate) fn ends_records(method: &str) -> bool {
    method == "unlink" || (words::step(method).is_some() && words::of_words(&words::split(method), &[]) == Some(Effect::Destroy))
}
