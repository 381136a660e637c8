//! Where one host has everything: which part of the catalogue a path is of. `cargo xtask catalogue` sorts by the same rules.

use crate::meaning::route::Route;

/// The first part that is no version and no `api`; below Cloudflare's accounts and zones, what lies in them.
pub(super) fn first(route: &Route) -> String {
    let mut parts = route.segments().filter(|part| !is_aside(part));
    let first = parts.next().unwrap_or("root");
    let inner = matches!(first, "accounts" | "zones").then(|| parts.nth(1)).flatten();
    inner.unwrap_or(first).to_ascii_lowercase()
}

fn is_aside(part: &str) -> bool {
    matches!(part, "api" | "client") || part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The provider of the innermost resource: `microsoft.compute`.
pub(super) fn azure(route: &Route) -> String {
    let parts: Vec<&str> = route.segments().collect();
    let at = parts.iter().rposition(|part| part.eq_ignore_ascii_case("providers"));
    at.and_then(|at| parts.get(at + 1)).copied().unwrap_or("resources").to_ascii_lowercase()
}
