//! The pages, as text: plain HTML that works without a script. Everything foreign in them is escaped.

use agentbox_core::{safe, verdict::Presence};

use super::door::Guest;
use crate::{
    Card,
    card::{Row, Style, duration, render},
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

/// Whether a page follows what happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    /// By the script, or else by loading itself again.
    List,
    /// By the script, which says so and changes nothing.
    Card,
    No,
}

fn page(title: &str, root: &str, live: Live, body: &str) -> String {
    let follow = match live {
        Live::List => format!("<script src=\"{root}script.js\" defer></script><noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>"),
        Live::Card => format!("<script src=\"{root}script.js\" defer></script>"),
        Live::No => String::new(),
    };
    let style = if root.is_empty() { String::new() } else { format!("<link rel=\"stylesheet\" href=\"{root}style.css\">") };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>{style}{follow}</head><body><main>{body}</main></body></html>",
        escaped(title)
    )
}

/// Before the log-in: a button, so that whatever fetches links ahead does not use this one up.
pub(super) fn welcome(link: &str) -> String {
    page(
        "agentbox",
        "",
        Live::No,
        &format!(
            "<h1>agentbox</h1><form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"link\" value=\"{}\"><button>Open the approvals desk in this browser</button></form>",
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
        &format!("<h1>agentbox</h1><p><a href=\"/{0}/\">To the approvals desk</a></p><meta http-equiv=\"refresh\" content=\"0;url=/{0}/\">", guest.path),
    )
}

/// One sentence.
pub(super) fn notice(text: &str, back: &str) -> String {
    page("agentbox", "", Live::No, &format!("<h1>agentbox</h1><p role=\"status\">{}</p><p><a href=\"{}\">Back</a></p>", escaped(text), escaped(back)))
}

/// What waits.
pub(super) fn list(rows: &[Row], more: usize, guest: &Guest) -> String {
    let root = format!("/{}/", guest.path);
    let mut body = "<h1>What waits for a person</h1>".to_owned();
    if rows.is_empty() {
        body.push_str("<p>Nothing waits.</p>");
        return page("agentbox: nothing waits", &root, Live::List, &body);
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
            "<tr><td><a href=\"hold/{id}\">{id}</a></td><td>{state}</td><td>{}</td><td>{}</td><td>{}{foreign}{folded}</td></tr>",
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
    page(&format!("agentbox: {} wait", rows.len()), &root, Live::List, &body)
}

/// One card, with what can be said to it.
pub(super) fn card(card: &Card, guest: &Guest) -> String {
    let root = format!("/{}/", guest.path);
    let id = escaped(card.id.as_str());
    let mut body = format!(
        "<p><a href=\"{root}\">What else waits</a></p><h1>{}</h1><p id=\"changed\" class=\"danger\" role=\"alert\" hidden>Something has changed: load the page again before you rule.</p><pre tabindex=\"0\" aria-label=\"The card\">{}</pre>",
        escaped(&card.headline()),
        escaped(&render(card, Style::Plain))
    );
    if card.phase == Phase::Waiting {
        body.push_str(&format!(
            "<form method=\"post\" action=\"{root}hold/{id}/approve\"><input type=\"hidden\" name=\"stamp\" value=\"{}\"><input type=\"hidden\" name=\"shown\" value=\"{}\">",
            guest.stamp,
            card.shown().to_hex()
        ));
        let word = card.wants.typed.as_deref().unwrap_or("yes");
        body.push_str(&format!(
            "<label>To let it happen, once, type <b>{}</b><input type=\"text\" name=\"typed\" autocomplete=\"off\" autocapitalize=\"off\" spellcheck=\"false\"></label>",
            escaped(&safe::line(word, usize::MAX))
        ));
        if card.wants.presence == Presence::Signature {
            body.push_str(&signing(card));
        }
        body.push_str("<button>Approve</button></form>");
    }
    body.push_str(&format!(
        "<form method=\"post\" action=\"{root}hold/{id}/deny\"><input type=\"hidden\" name=\"stamp\" value=\"{}\"><label>Why not? The agent is told<input type=\"text\" name=\"because\" maxlength=\"400\" autocomplete=\"off\"></label><button>Refuse</button></form>",
        guest.stamp
    ));
    page(&format!("agentbox: {}", card.id), &root, Live::Card, &body)
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
