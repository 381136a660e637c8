//! Client libraries that carry their API as program text: each request has a name, a method and a path, on lines of their own.

use std::{fs, path::Path, path::PathBuf};

use anyhow::Result;

/// One request of a library: name, method, path.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
}

/// How a library writes them down: what stands before and after each on its line.
pub(super) struct Style {
    pub(super) name: &'static [(&'static str, &'static str)],
    pub(super) path: &'static [(&'static str, &'static str)],
    pub(super) method: &'static [(&'static str, &'static str)],
}

/// Reads one file. A request is whole when all three have been seen since the last one; a new name begins a new one.
pub(super) fn read(text: &str, style: &Style) -> Vec<Found> {
    let mut all = Vec::new();
    let (mut name, mut method, mut path) = (None, None, None);
    let one = |line: &str, marks: &[(&str, &str)]| marks.iter().find_map(|(before, after)| between(line, before, after)).map(str::to_owned);
    for line in text.lines() {
        if let Some(found) = one(line, style.name) {
            (name, method, path) = (Some(found), None, None);
        }
        method = one(line, style.method).or(method);
        path = one(line, style.path).filter(|path| path.starts_with('/')).or(path);
        if let (Some(found), Some(verb), Some(place)) = (&name, &method, &path) {
            all.push(Found { name: found.clone(), method: verb.to_ascii_uppercase(), path: place.clone() });
            (name, method, path) = (None, None, None);
        }
    }
    all
}

/// What stands between two marks; a first mark that begins with `^` stands at the line's beginning.
pub(super) fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = match before.strip_prefix('^') {
        Some(start) => line.strip_prefix(start)?,
        None => line.split_once(before)?.1,
    };
    rest.split_once(after).map(|(inner, _)| inner)
}

/// All files below a folder with this ending, in the order of their names.
pub(super) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `VirtualMachines` as `virtual_machines`.
pub(super) fn snake(name: &str) -> String {
    let mut text = String::new();
    let mut before = '_';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins =
            letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit() || letters.peek().is_some_and(char::is_ascii_lowercase));
        if begins && before != '_' {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
        before = letter;
    }
    text
}

/// The first part of a path that is no version and no `api`: where one host has everything, its shelf.
pub(super) fn shelf(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty() && !is_aside(part));
    let first = parts.next().unwrap_or("root");
    // Cloudflare: `accounts/*/d1/…`.
    let inner = matches!(first, "accounts" | "zones" | "*").then(|| parts.nth(1)).flatten();
    inner.unwrap_or(first).to_ascii_lowercase()
}

fn is_aside(part: &str) -> bool {
    matches!(part, "api" | "client") || part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Requests that are built by functions, as the libraries for Azure and DigitalOcean have them: `def build_disks_delete_request`. Its group is
/// a class of the same file.
pub(super) fn builders(text: &str) -> Vec<Found> {
    const STYLE: Style = Style {
        name: &[("^def build_", "_request(")],
        path: &[("_url = \"", "\""), ("\"template_url\", \"", "\""), ("^        \"", "\""), ("^    url = \"", "\"")],
        method: &[("HttpRequest(method=\"", "\""), ("^        method=\"", "\"")],
    };
    let mut groups: Vec<String> = text.lines().filter_map(|line| between(line, "^class ", "Operations")).map(snake).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut found = read(text, &STYLE);
    for one in &mut found {
        let of = groups.iter().find_map(|group| Some((group, one.name.strip_prefix(group.as_str())?.strip_prefix('_')?)));
        if let Some((group, verb)) = of {
            one.name = format!("{group}.{verb}");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_in_program_text() {
        let text = "def build_disks_delete_request(\n    _url = \"/x/disks/{diskName}\"\n    return HttpRequest(method=\"DELETE\", url=_url)\n\nclass DisksOperations:\n";
        let found = builders(text);
        let [one] = found.as_slice() else { panic!("{}", found.len()) };
        assert_eq!((one.name.as_str(), one.method.as_str(), one.path.as_str()), ("disks.delete", "DELETE", "/x/disks/{diskName}"));
    }

    #[test]
    fn names_and_shelves() {
        assert_eq!(snake("VirtualMachines"), "virtual_machines");
        assert_eq!(snake("SQLPools"), "sql_pools");
        assert_eq!(shelf("/v2/droplets/*"), "droplets");
        assert_eq!(shelf("/client/v4/accounts/*/d1/database"), "d1");
        assert_eq!(shelf("/client/v4/zones"), "zones");
    }
}
