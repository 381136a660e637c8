//! The catalogue's data: which operation a method and a path are, service by service, unpacked when a service is first asked for.

use std::{io::Read as _, sync::OnceLock};

use flate2::read::DeflateDecoder;

use crate::meaning::route::Route;

/// A part of a path of any number of segments.
const GREEDY: &str = "**";

/// One provider's operations.
pub(super) struct Book {
    data: &'static [u8],
    services: OnceLock<Vec<Service>>,
}

struct Service {
    name: &'static str,
    block: &'static [u8],
    page: OnceLock<Page>,
}

/// One service's operations: lines of method, path and name, in the order of their bytes.
struct Page {
    text: String,
    /// By method and depth, and within these as in the text.
    lines: Vec<Line>,
}

/// Where a line's parts stand in the text: `GET /path name`.
#[derive(Clone, Copy, Debug)]
struct Line {
    begin: u32,
    path: u32,
    name: u32,
    end: u32,
    /// How many segments a path must have to fit; [`ANY_DEPTH`] where a part of it is greedy.
    depth: u8,
}

/// The depth of a path that fits paths of many.
const ANY_DEPTH: u8 = u8::MAX;

impl Book {
    pub(super) const fn new(data: &'static [u8]) -> Self {
        Self { data, services: OnceLock::new() }
    }

    /// The name of the operation, if the service is known and this is one of its paths.
    pub(super) fn find(&'static self, service: &str, method: &str, route: &Route) -> Option<&'static str> {
        let services = self.services.get_or_init(|| index(self.data));
        let at = services.binary_search_by(|known| known.name.cmp(service)).ok()?;
        let service = services.get(at)?;
        service.page.get_or_init(|| Page::of(service.block)).find(method, route)
    }

    /// All of it, for tests.
    #[cfg(test)]
    pub(super) fn all(&'static self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let services = self.services.get_or_init(|| index(self.data));
        services.iter().flat_map(|service| service.page.get_or_init(|| Page::of(service.block)).text.lines().map(|line| (service.name, line)))
    }
}

/// The services that the data's head lists. Ours, so what cannot be read is not there.
fn index(data: &'static [u8]) -> Vec<Service> {
    let Some(end) = data.windows(2).position(|pair| pair == b"\n\n") else { return Vec::new() };
    let Some((head, blocks)) = data.split_at_checked(end + 2) else { return Vec::new() };
    let mut services: Vec<Service> = std::str::from_utf8(head)
        .unwrap_or_default()
        .lines()
        .skip(2)
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, begin, length) = (words.next()?, words.next()?.parse::<usize>().ok()?, words.next()?.parse::<usize>().ok()?);
            Some(Service { name, block: blocks.get(begin..begin.checked_add(length)?)?, page: OnceLock::new() })
        })
        .collect();
    services.sort_by_key(|service| service.name);
    services
}

impl Page {
    fn of(block: &[u8]) -> Self {
        let mut text = String::new();
        if DeflateDecoder::new(block).read_to_string(&mut text).is_err() {
            text.clear();
        }
        let mut begin = 0;
        let mut lines: Vec<Line> = Vec::new();
        for line in text.split_inclusive('\n') {
            lines.extend(Line::of(line, begin));
            begin += line.len();
        }
        let mut page = Self { text, lines: Vec::new() };
        lines.sort_by(|one, other| (page.method(*one), one.depth).cmp(&(page.method(*other), other.depth)));
        page.lines = lines;
        page
    }

    fn method(&self, line: Line) -> &str {
        self.part(line.begin, line.path - 1)
    }

    fn part(&self, begin: u32, end: u32) -> &str {
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// The lines of one method and depth, in the order of the text.
    fn of_depth(&self, method: &str, depth: u8) -> &[Line] {
        let from = self.lines.partition_point(|line| (self.method(*line), line.depth) < (method, depth));
        let until = self.lines.partition_point(|line| (self.method(*line), line.depth) <= (method, depth));
        self.lines.get(from..until).unwrap_or_default()
    }

    /// The operation whose path fits best: what is spelt out goes before what may be anything, as servers have it.
    fn find(&'static self, method: &str, route: &Route) -> Option<&'static str> {
        let depth = u8::try_from(route.segments().len()).unwrap_or(ANY_DEPTH);
        let mut exact = if depth == ANY_DEPTH { &[][..] } else { self.of_depth(method, depth) };
        let mut greedy = self.of_depth(method, ANY_DEPTH);
        let mut best: Option<(Fit, &str)> = None;
        loop {
            let line = match (exact.split_first(), greedy.split_first()) {
                (Some((line, rest)), other) if other.is_none_or(|(other, _)| line.begin < other.begin) => {
                    exact = rest;
                    line
                }
                (_, Some((line, rest))) => {
                    greedy = rest;
                    line
                }
                (_, None) => break,
            };
            let Some(fit) = fits(self.part(line.path, line.name - 1), route) else { continue };
            let name = self.part(line.name, line.end);
            match &best {
                // Two names for one request: which counts is the service's secret.
                Some((known, other)) if *known == fit && *other != name => return None,
                Some((known, _)) if *known >= fit => {}
                _ => best = Some((fit, name)),
            }
        }
        best.map(|(_, name)| name)
    }
}

impl Line {
    /// Of `GET /path name`, which begins at this byte of the text.
    fn of(line: &str, begin: usize) -> Option<Self> {
        let line = line.trim_end_matches('\n');
        let (method, rest) = line.split_once(' ')?;
        let (path, _) = rest.split_once(' ')?;
        let parts = path.split('?').next().unwrap_or_default().split('/').filter(|part| !part.is_empty());
        let depth = if parts.clone().any(|part| part.starts_with(GREEDY)) { ANY_DEPTH } else { u8::try_from(parts.count()).ok()? };
        let at = |offset: usize| u32::try_from(begin + offset).ok();
        Some(Self { begin: at(0)?, path: at(method.len() + 1)?, name: at(method.len() + path.len() + 2)?, end: at(line.len())?, depth })
    }
}

/// How well a path fits: literal bytes, and pairs of the query that the pattern names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    in_query: usize,
    literal: usize,
}

fn fits(pattern: &str, route: &Route) -> Option<Fit> {
    let (path, query) = pattern.split_once('?').unwrap_or((pattern, ""));
    let mut fit = Fit { in_query: 0, literal: 0 };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What the pattern has a place for, anybody may leave out.
        if value.contains('*') {
            continue;
        }
        route.values(name).any(|found| found == value).then_some(())?;
        fit.in_query += 1;
    }
    let mut segments = route.segments();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        if part.starts_with(GREEDY) {
            return greedy(part, parts, segments, fit);
        }
        fit.literal += literal(part, segments.next()?)?;
    }
    segments.next().is_none().then_some(fit)
}

/// The rest after `**`, fitted from the end: at least one segment stands for it.
fn greedy<'a>(
    part: &str,
    parts: impl DoubleEndedIterator<Item = &'a str>,
    mut segments: impl DoubleEndedIterator<Item = &'a str>,
    mut fit: Fit,
) -> Option<Fit> {
    for part in parts.rev() {
        // Two of them in one path are not in the data; one that came would fit nothing.
        fit.literal += literal(part, segments.next_back()?)?;
    }
    let ending = part.strip_prefix(GREEDY).unwrap_or_default();
    fit.literal += ending.len();
    segments.next_back()?.ends_with(ending).then_some(fit)
}

/// How many bytes of a segment are spelt out, if it fits.
fn literal(part: &str, segment: &str) -> Option<usize> {
    let Some((before, after)) = part.split_once('*') else { return (part == segment).then_some(part.len()) };
    // `{a}:{b}`: the last star counts as well.
    let after = after.rsplit('*').next().unwrap_or(after);
    let inner = segment.strip_prefix(before)?.strip_suffix(after)?;
    // `{name}` is no place for a custom verb.
    (!inner.is_empty() && (after.contains(':') || !inner.contains(':') || before.is_empty() && after.is_empty() && !is_verb(inner)))
        .then_some(before.len() + after.len())
}

/// Whether a segment ends in `:verb`, which another path would name.
fn is_verb(segment: &str) -> bool {
    segment.rsplit_once(':').is_some_and(|(_, verb)| !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(pattern: &str, target: &str) -> Option<usize> {
        fits(pattern, &Route::of(target)).map(|fit| fit.literal + fit.in_query)
    }

    #[test]
    fn patterns_fit_whole_paths_only() {
        assert_eq!(fit("/a/*/b", "/a/1/b"), Some(2));
        assert_eq!(fit("/a/*/b", "/a/1/b/c"), None);
        assert_eq!(fit("/a/*/b", "/a/b"), None);
        assert_eq!(fit("/v1/**", "/v1/x/y"), Some(2));
        assert_eq!(fit("/v1/**", "/v1"), None);
        assert_eq!(fit("/v1/**:undelete", "/v1/x/y:undelete"), Some(11));
        assert_eq!(fit("/v1/**/tail", "/v1/x/y/tail"), Some(6));
        assert_eq!(fit("/v1/**/tail", "/v1/tail"), None);
        assert_eq!(fit("/x/*?operation=add", "/x/1?operation=add"), Some(2));
        assert_eq!(fit("/x/*?operation=add", "/x/1?operation=remove"), None);
        assert_eq!(fit("/x/*?tags=*", "/x/1"), Some(1));
    }

    #[test]
    fn a_name_is_no_custom_verb() {
        assert_eq!(fit("/v1/things/*", "/v1/things/3:purge"), None);
        assert_eq!(fit("/v1/things/*:purge", "/v1/things/3:purge"), Some(14));
        assert_eq!(fit("/functions/*", "/functions/arn:aws:lambda:eu-west-1:123:function:f2"), Some(9));
    }
}
