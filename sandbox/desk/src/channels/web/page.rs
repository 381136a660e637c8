//! The pages, as text: plain HTML that works without a script. Everything foreign in them is escaped.

use agentbox_core::{safe, verdict::Presence};

use super::door::Guest;
use crate::{
    Card,
    card::{
        Row, duration,
        lines::{self, Line, Part},
    },
    room::Phase,
    signature::{NAMESPACE, statement},
};

/// Text for between tags and for quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Whether a page follows what happens; it knows what it was made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live<'a> {
    /// By the script, or else by loading itself again.
    List(&'a str),
    /// By the script, which says so where somebody is writing.
    Card(&'a str),
    No,
}

fn page(title: &str, root: &str, live: Live<'_>, body: &str) -> String {
    let script = |seen: &str| format!("<script src=\"{root}script.js\" data-seen=\"{seen}\" defer></script>");
    let follow = match live {
        Live::List(seen) => format!("{}<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>", script(seen)),
        Live::Card(seen) => script(seen),
        Live::No => String::new(),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><link rel=\"stylesheet\" href=\"/style.css\">{follow}</head><body><header>{}<span>approvals</span></header><main>{body}</main></body></html>",
        escaped(title),
        if root.is_empty() { "<b>agentbox</b>".to_owned() } else { format!("<a href=\"{root}\">agentbox</a>") },
    )
}

/// Before the log-in: a button, so that whatever fetches links ahead does not use this one up.
pub(super) fn welcome(link: &str) -> String {
    page(
        "agentbox",
        "",
        Live::No,
        &format!(
            "<h1>Approvals of this machine</h1><form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"link\" value=\"{}\"><button>Open the approvals desk in this browser</button></form>",
            escaped(link)
        ),
    )
}

/// After it. Not a redirect: one that began elsewhere would not bring a strict cookie along.
pub(super) fn entered(guest: &Guest) -> String {
    page(
        "agentbox",
        "",
        Live::No,
        &format!("<h1>Welcome</h1><p><a href=\"/{0}/\">To the approvals desk</a></p><meta http-equiv=\"refresh\" content=\"0;url=/{0}/\">", guest.path),
    )
}

/// One sentence.
pub(super) fn notice(text: &str, back: &str) -> String {
    page("agentbox", "", Live::No, &format!("<p class=\"notice\" role=\"status\">{}</p><p><a href=\"{}\">Back</a></p>", escaped(text), escaped(back)))
}

/// What waits.
pub(super) fn list(rows: &[Row], more: usize, seen: &str, guest: &Guest) -> String {
    let root = format!("/{}/", guest.path);
    let mut body = "<h1>What waits for a person</h1>".to_owned();
    if rows.is_empty() {
        body.push_str("<p class=\"notice\">Nothing waits. What comes shows up here by itself.</p>");
        return page("agentbox: nothing waits", &root, Live::List(seen), &body);
    }
    body.push_str("<table><thead><tr><th scope=\"col\">Hold</th><th scope=\"col\">State</th><th scope=\"col\">Left</th><th scope=\"col\">Place</th><th scope=\"col\">What</th></tr></thead><tbody>");
    for row in rows {
        let state = match row.phase {
            Phase::Waiting => "waiting",
            Phase::Looking => "looking",
            Phase::Kept => "approved",
            Phase::Passing => "passing",
        };
        let foreign = if row.foreign { " <span class=\"danger\">foreign credential</span>" } else { "" };
        let folded = if row.folded > 0 { format!(" (and {} more of this kind refused)", row.folded) } else { String::new() };
        body.push_str(&format!(
            "<tr><td><a href=\"hold/{id}\">{id}</a></td><td><span class=\"state {state}\">{state}</span></td><td>{}</td><td>{}</td><td>{}{foreign}{folded}</td></tr>",
            duration(row.left),
            escaped(&row.place),
            escaped(&row.headline),
            id = escaped(row.id.as_str()),
        ));
    }
    body.push_str("</tbody></table>");
    if more > 0 {
        body.push_str(&format!("<p>and {more} more</p>"));
    }
    page(&format!("agentbox: {} wait", rows.len()), &root, Live::List(seen), &body)
}

/// One card, with what can be said to it.
pub(super) fn card(card: &Card, seen: &str, guest: &Guest) -> String {
    let root = format!("/{}/", guest.path);
    let id = escaped(card.id.as_str());
    let (state, end) = lines::state(card);
    let all = lines::lines(card);
    let mut body = format!(
        "<nav><a href=\"{root}\">What else waits</a></nav><p id=\"changed\" class=\"notice danger\" role=\"alert\" hidden>Something has changed: load the page again before you rule.</p><article aria-labelledby=\"title\"><p class=\"head\"><span><span class=\"state\">{state}</span> {id} <small>box {}</small></span><span>{}</span></p><h1 id=\"title\">{}</h1>",
        escaped(&safe::line(&card.session, 24)),
        escaped(&end),
        escaped(&card.headline()),
    );
    body.push_str(&listed(&all, Part::Fact));
    let excerpt: Vec<&str> = all.iter().filter(|line| line.part == Part::Excerpt).map(|line| line.text.as_str()).collect();
    if !excerpt.is_empty() {
        body.push_str(&format!("<pre tabindex=\"0\" aria-label=\"What would be sent\">{}</pre>", escaped(&excerpt.join("\n"))));
    }
    body.push_str(&format!("<details><summary>From a terminal</summary>{}</details></article><div class=\"rulings\">", listed(&all, Part::Ruling)));
    body.push_str(&format!(
        "<form method=\"post\" action=\"{root}hold/{id}/deny\"><h2>Refuse</h2><input type=\"hidden\" name=\"stamp\" value=\"{}\"><label>Why not? The agent is told<input type=\"text\" name=\"because\" maxlength=\"400\" autocomplete=\"off\"></label><button>Refuse</button></form>",
        guest.stamp
    ));
    if card.phase == Phase::Waiting {
        body.push_str(&approving(card, guest, &root));
    }
    body.push_str("</div>");
    page(&format!("agentbox: {}", card.id), &root, Live::Card(seen), &body)
}

/// These lines as a list of terms and what is said of each.
fn listed(all: &[Line], part: Part) -> String {
    let mut list = String::from("<dl>");
    let mut open = false;
    for line in all.iter().filter(|line| line.part == part) {
        // What goes on with the line before stands in the same cell; the first line always has its own.
        if !line.label.is_empty() || !open {
            if open {
                list.push_str("</dd>");
            }
            list.push_str(&format!("<dt>{}</dt><dd>", escaped(line.label)));
            open = true;
        }
        let class = if line.strong { " class=\"strong\"" } else { "" };
        list.push_str(&format!("<p{class}>{}</p>", escaped(&line.text)));
    }
    if open {
        list.push_str("</dd>");
    }
    list.push_str("</dl>");
    list
}

/// The form that lets it happen.
fn approving(card: &Card, guest: &Guest, root: &str) -> String {
    let more = match (card.wants.approvers, card.wants.have.as_slice()) {
        (..=1, _) => String::new(),
        (people, []) => format!("<p>{people} different people must approve. So far: nobody.</p>"),
        (people, have) => format!("<p>{people} different people must approve. So far: {}.</p>", escaped(&safe::line(&have.join(", "), 400))),
    };
    let word = card.wants.typed.as_deref().unwrap_or("yes");
    let signing = if card.wants.presence == Presence::Signature { signing(card) } else { String::new() };
    format!(
        "<form method=\"post\" action=\"{root}hold/{}/approve\"><h2>Let it happen, once</h2><input type=\"hidden\" name=\"stamp\" value=\"{}\"><input type=\"hidden\" name=\"shown\" value=\"{}\">{more}<label>To let it happen, once, type <b>{}</b><input type=\"text\" name=\"typed\" autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\"></label>{signing}<button class=\"grave\">Approve</button></form>",
        escaped(card.id.as_str()),
        guest.stamp,
        card.shown().to_hex(),
        escaped(&safe::line(word, usize::MAX)),
    )
}

/// The page has no key: it says what to sign, and takes the signature.
fn signing(card: &Card) -> String {
    let text = statement(card, card.wants.typed.as_deref(), None).unwrap_or_default();
    format!(
        "<p>It must be signed. On this machine: <code>agentbox approve {}</code>. Elsewhere, sign this very text with <code>ssh-keygen -Y sign -n {NAMESPACE} -f KEY</code>, its last line end included:</p><pre tabindex=\"0\" aria-label=\"The text to sign\">{}</pre><label>and put the signature here<textarea name=\"signature\" spellcheck=\"false\"></textarea></label>",
        escaped(card.id.as_str()),
        escaped(&text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_is_markup() {
        assert_eq!(escaped("<img src=x onerror='a'>&\""), "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;");
        assert!(notice("</p><script>", "\"x").contains("&lt;/p&gt;&lt;script&gt;"));
    }
}
