//! Tools of a model request: which the client runs, and which the provider would run from its own network.
//!
//! A client's tool is the agent's own deed, seen when it is done. A provider's tool is not seen by us at all, so:
//! a remote MCP server can do whatever that server can; code, fetching and connectors can reach anything;
//! what is not known is taken for the worst. A provider's own web *search* is no delegation here: it takes words, no
//! address, no method and no credential of the request's choice, and changes nothing; were it held, every ordinary
//! conversation of some agents would be. It is named in the reason instead.

use std::collections::BTreeSet;

use agentbox_core::{Delegation, Reach};
use serde_json::{Map, Value};

use super::skim::Skimmed;

/// Most tools of one request; agents send some dozens.
const MOST_TOOLS: usize = 2000;

/// Most requests of one batch of model requests.
const MOST_REQUESTS: usize = 10_000;

/// Tools that the client runs, by their type or the beginning of it, up to a `_` and a date.
const CLIENT: &[&str] = &["function", "custom", "bash", "text_editor", "computer", "computer_use_preview", "memory", "local_shell", "apply_patch", "namespace"];

/// Tools that the provider runs on nothing but what it was given, or on the words of a search.
const CONTAINED: &[&str] =
    &["web_search", "web_search_preview", "tool_search", "tool_search_tool_regex", "tool_search_tool_bm25", "image_generation", "file_search", "mcp_toolset"];

/// Keys of Google's tools that the client runs, and those that search.
const GOOGLE_CLIENT: &[&str] = &["functionDeclarations", "function_declarations", "computerUse", "computer_use"];
const GOOGLE_CONTAINED: &[&str] = &[
    "googleSearch",
    "google_search",
    "googleSearchRetrieval",
    "google_search_retrieval",
    "enterpriseWebSearch",
    "enterprise_web_search",
    "googleMaps",
    "google_maps",
    "fileSearch",
    "file_search",
];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    anywhere: Vec<String>,
    hosts: BTreeSet<String>,
    searches: bool,
}

impl Found {
    /// One sentence for the operation.
    #[must_use]
    pub(crate) fn reason(&self) -> &'static str {
        if self.anywhere.is_empty() && self.hosts.is_empty() {
            if self.searches { "asks a model, which may search the web on its own" } else { "asks a model" }
        } else {
            "asks a model, and lets its provider act from its own network"
        }
    }

    /// The fact for the policy.
    #[must_use]
    pub(crate) fn into_delegation(self) -> Option<Delegation> {
        let hosts: Vec<String> = self.hosts.into_iter().collect();
        if let Some(first) = self.anywhere.first() {
            return Some(Delegation { reach: Reach::Anywhere, why: format!("the model's provider runs {first} from its own network") });
        }
        let first = hosts.first()?.clone();
        Some(Delegation {
            reach: Reach::Hosts(hosts),
            why: format!("the model's provider calls {} from its own network", agentbox_core::safe::line(&first, 120)),
        })
    }

    fn anywhere(&mut self, what: &str) {
        self.anywhere.push(agentbox_core::safe::line(what, 80));
    }

    fn url(&mut self, what: &str, url: Option<&Value>) {
        let host = url
            .and_then(Value::as_str)
            .and_then(|text| url::Url::parse(text).ok())
            .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
        match host {
            Some(host) => {
                self.hosts.insert(host);
            }
            None => self.anywhere(what),
        }
    }
}

/// Looks through all that can make the provider act.
#[must_use]
pub(crate) fn find(skimmed: &Skimmed) -> Found {
    let mut found = Found::default();
    request(&skimmed.fields, &mut found);
    found
}

fn request(fields: &Map<String, Value>, found: &mut Found) {
    for (name, value) in fields {
        if value.is_null() {
            continue;
        }
        match name.as_str() {
            "tools" => each(value, "tools in an unknown form", found, tool),
            "mcp_servers" | "mcpServers" | "context_servers" => each(value, "a remote MCP server", found, |server, found| {
                let url = server
                    .get("url")
                    .or_else(|| server.get("server_url"))
                    .or_else(|| server.get("streamableHttpTransport").and_then(|transport| transport.get("url")));
                found.url("a remote MCP server", url);
            }),
            "toolConfig" | "tool_config" => {
                if let Some(tools) = value.get("tools") {
                    each(tools, "tools in an unknown form", found, bedrock_tool);
                }
            }
            "plugins" => each(value, "a plugin", found, |plugin, found| match plugin.get("id").and_then(Value::as_str) {
                Some("web") => found.searches = true,
                Some("file-parser" | "response-healing" | "moderation") => {}
                other => found.anywhere(&format!("the plugin {}", other.unwrap_or("?"))),
            }),
            "web_search_options" | "search_parameters" => found.searches = true,
            // A stored prompt brings tools of its own, which the request does not show. A plain text prompt is an old API's question.
            "prompt" if value.is_object() => found.anywhere("a stored prompt with tools of its own"),
            "agent" if value.is_object() => found.anywhere("a stored agent"),
            "connectors" | "server_tools" => found.anywhere("connectors"),
            // Google's command line wraps the request; batches hold many.
            "request" | "extra_body" => {
                if let Value::Object(inner) = value {
                    nested(inner, found);
                }
            }
            "requests" => batch(value, found),
            _ => {}
        }
    }
}

/// A request inside a request: one level, whose own wrappers are not followed.
fn nested(inner: &Map<String, Value>, found: &mut Found) {
    if ["request", "requests", "extra_body"].iter().any(|name| inner.contains_key(*name)) {
        found.anywhere("a request inside a request");
        return;
    }
    request(inner, found);
}

fn batch(value: &Value, found: &mut Found) {
    match value {
        Value::Array(items) if items.len() <= MOST_REQUESTS => {
            for item in items.iter().filter_map(Value::as_object) {
                match item.get("params").or_else(|| item.get("request")).or_else(|| item.get("body")).unwrap_or(&Value::Null) {
                    Value::Object(inner) => nested(inner, found),
                    _ => nested(item, found),
                }
            }
        }
        _ => found.anywhere("a batch in an unknown form"),
    }
}

fn each(value: &Value, otherwise: &str, found: &mut Found, judge: impl Fn(&Map<String, Value>, &mut Found)) {
    match value {
        Value::Array(items) if items.len() <= MOST_TOOLS => {
            for item in items {
                match item {
                    Value::Object(object) => judge(object, found),
                    _ => found.anywhere(otherwise),
                }
            }
        }
        Value::Null => {}
        _ => found.anywhere(otherwise),
    }
}

fn tool(tool: &Map<String, Value>, found: &mut Found) {
    match tool.get("type") {
        Some(Value::String(kind)) => typed_tool(kind, tool, found),
        Some(_) => found.anywhere("a tool in an unknown form"),
        // Anthropic's client tools may leave the type out; they have a schema for what the client must be given.
        None if tool.contains_key("input_schema") || tool.contains_key("function") || tool.contains_key("toolSpec") => {}
        None => google_tool(tool, found),
    }
}

/// `web_search_20250305` is `web_search`.
fn undated(kind: &str) -> &str {
    match kind.rsplit_once('_') {
        Some((name, date)) if date.len() >= 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => kind,
    }
}

fn typed_tool(kind: &str, tool: &Map<String, Value>, found: &mut Found) {
    let name = undated(kind);
    match name {
        "mcp" => found.url("a remote MCP server or connector", tool.get("server_url").or_else(|| tool.get("url"))),
        "web_fetch" => match tool.get("allowed_domains").and_then(Value::as_array) {
            Some(domains) if !domains.is_empty() && domains.iter().all(Value::is_string) => {
                found.hosts.extend(domains.iter().filter_map(Value::as_str).map(|domain| domain.split('/').next().unwrap_or(domain).to_owned()));
            }
            _ => found.anywhere("web_fetch"),
        },
        "shell" if tool.get("environment").and_then(|e| e.get("type")).and_then(Value::as_str) == Some("local") => {}
        _ if name.starts_with("web_search") => found.searches = true,
        _ if CLIENT.contains(&name) || CONTAINED.contains(&name) => {}
        _ => found.anywhere(&format!("the tool {name}")),
    }
}

fn google_tool(tool: &Map<String, Value>, found: &mut Found) {
    for (name, value) in tool {
        match name.as_str() {
            name if GOOGLE_CLIENT.contains(&name) => {}
            name if GOOGLE_CONTAINED.contains(&name) => found.searches = true,
            "mcpServers" | "mcp_servers" => each(value, "a remote MCP server", found, |server, found| {
                let transport = server.get("streamableHttpTransport").or_else(|| server.get("streamable_http_transport"));
                found.url("a remote MCP server", transport.and_then(|transport| transport.get("url")).or_else(|| server.get("url")));
            }),
            name => found.anywhere(&format!("the tool {name}")),
        }
    }
}

fn bedrock_tool(tool: &Map<String, Value>, found: &mut Found) {
    for name in tool.keys().filter(|name| !matches!(name.as_str(), "toolSpec" | "cachePoint")) {
        found.anywhere(&format!("the tool {name}"));
    }
}
