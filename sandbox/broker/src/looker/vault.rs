//! HashiCorp Vault, and what speaks its API (OpenBao): one field of a secret in a key/value store of version 2.
//!
//! The server and the person's own token are found as its command line finds them: `VAULT_ADDR`, `VAULT_TOKEN` or `~/.vault-token`,
//! `VAULT_NAMESPACE`. Certificates are verified against the system's roots and those of the policy.

use std::{io::Read as _, sync::Arc, time::Duration};

use agentbox_core::{Destination, HostName, policy::Policy};
use bytes::Bytes;
use http::{Request, StatusCode};

use super::direct::Direct;
use crate::meaning::parse_json;

/// For the whole question.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longest token, in bytes.
const LONGEST: u64 = 16 << 10;

/// The field.
pub(super) fn read(policy: &Arc<Policy>, mount: &str, path: &str, field: &str) -> Result<String, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = variable("VAULT_ADDR").ok_or("VAULT_ADDR is not set: export VAULT_ADDR=https://HOST:8200")?;
    let to = server(&address).ok_or("VAULT_ADDR is no https://HOST[:PORT]: a token is not sent in the clear")?;
    let token = match variable("VAULT_TOKEN") {
        Some(token) => token,
        None => own_token().ok_or("there is no token for the Vault: set VAULT_TOKEN, or run `vault login`")?,
    };
    let mut request = Request::get(format!("/v1/{mount}/data/{path}")).header("x-vault-token", token.trim()).header("x-vault-request", "true");
    if let Some(namespace) = variable("VAULT_NAMESPACE") {
        request = request.header("x-vault-namespace", namespace);
    }
    let request = request.body(Bytes::new()).map_err(|_| "the Vault's token or namespace cannot stand in a header")?;
    let direct = Direct::of_the_user(policy, |name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let asked = runtime.block_on(async { tokio::time::timeout(DEADLINE, direct.send(&to, request)).await });
    let answer = asked.map_err(|_| format!("the Vault at {to} did not answer within {} seconds", DEADLINE.as_secs()))??;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => return Err(format!("the Vault at {to} says no: its token has expired, or may not read {mount}/{path}")),
        StatusCode::NOT_FOUND => return Err(format!("the Vault at {to} has no secret {mount}/{path} in a key/value store of version 2")),
        other => return Err(format!("the Vault at {to} answers {}", other.as_u16())),
    }
    let value = parse_json(&answer.body).map_err(|_| format!("the Vault at {to} does not answer with JSON"))?;
    let value = value.pointer("/data/data").and_then(|data| data.get(field)).and_then(serde_json::Value::as_str);
    value.map(str::to_owned).ok_or_else(|| format!("the secret {mount}/{path} has no text in its field {field}"))
}

/// `https://HOST[:PORT]`.
fn server(address: &str) -> Option<Destination> {
    let url = url::Url::parse(address).ok().filter(|url| url.scheme() == "https" && url.username().is_empty() && url.path() == "/" && url.query().is_none())?;
    let host = HostName::parse(url.host_str()?).ok()?;
    Some(Destination { host, port: url.port_or_known_default()?, addresses: Vec::new() })
}

/// What `vault login` left.
fn own_token() -> Option<String> {
    let home = std::env::var_os("HOME")?;
    let file = std::fs::File::open(std::path::Path::new(&home).join(".vault-token")).ok()?;
    let mut token = String::new();
    file.take(LONGEST).read_to_string(&mut token).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_alone() {
        assert_eq!(server("https://vault.example:8200").map(|to| to.to_string()).as_deref(), Some("vault.example:8200"));
        assert_eq!(server("https://vault.example/").map(|to| to.port), Some(443));
        for bad in ["http://vault.example:8200", "vault.example", "https://u:p@vault.example", "https://vault.example/x", "unix:///run/vault", ""] {
            assert_eq!(server(bad), None, "{bad}");
        }
    }
}
