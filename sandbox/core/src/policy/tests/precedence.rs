//! Which place decides.

use super::*;
use Verdict::{Allow, Deny, Hold as Held};

const TABLE: &str = r#"
[place.production]
protected = true
hosts     = ["db.prod.example.com:5432", "198.51.100.0/24"]
resources = ["railway:environment/production"]
read      = "allow"
write     = "hold"
destroy   = "hold"
approvers = 2
confirm   = "name"

[place.staging]
hosts     = ["*.staging.example.com"]
resources = ["railway:environment/staging"]
read      = "allow"
write     = "allow"
destroy   = "allow"

[place.cache]
resources = ["railway:volume/cache"]
destroy   = "allow"

[place.internet]
hosts   = ["*"]
read    = "allow"
write   = "allow"
destroy = "deny"
"#;

#[test]
fn the_floor() {
    let nothing = user("");
    assert_eq!(verdict(&nothing, on_file(Effect::Read, "/etc/hosts")), Allow);
    for effect in [Effect::Write, Effect::Destroy, Effect::Opaque] {
        assert_eq!(verdict(&nothing, on_file(effect, "/etc/hosts")), Deny);
    }
    for effect in Effect::ALL {
        assert_eq!(verdict(&nothing, at_host(effect, "example.com", 443)), Held);
    }
}

#[test]
fn a_path_with_any_letters_has_its_place() {
    let policy = user("[place.w]\npaths=[\"/w\"]\nwrite=\"allow\"\ndestroy=\"allow\"\n[place.kept]\npaths=[\"/w/the books\", \"/w/100%\"]\ndestroy=\"hold\"");
    for (path, expected) in [("/w/x", Allow), ("/w/the books/2026", Held), ("/w/100%/a", Held), ("/w/the%20books/2026", Allow), ("/w/100%25/a", Allow)] {
        assert_eq!(verdict(&policy, on_file(Effect::Destroy, path)), expected, "{path}");
    }
    let deep = format!("/w/the books/{}", "long/".repeat(700));
    assert_eq!(verdict(&policy, on_file(Effect::Destroy, &deep)), Held, "however long it is");
}

#[test]
fn a_resource_before_its_host_and_its_parent() {
    let policy = user(TABLE);
    let volume = |lines: &[&[&str]]| on_thing(Effect::Destroy, "railway.volumeDelete", "railway:volume/3d2c", lines);
    assert_eq!(verdict(&policy, volume(&[&["railway:environment/staging"]])), Allow);
    assert_eq!(verdict(&policy, volume(&[&["railway:environment/production"]])), Held);
    assert_eq!(verdict(&policy, volume(&[&[]])), Deny, "only its host is left");
    let cache = |lines: &[&[&str]]| on_thing(Effect::Destroy, "railway.volumeDelete", "railway:volume/cache", lines);
    assert_eq!(verdict(&policy, cache(&[&["railway:environment/staging"]])), Allow);
    assert_eq!(verdict(&policy, cache(&[&["railway:environment/production"]])), Held, "a deeper place does not loosen a protected one");
}

#[test]
fn several_lines_the_strictest_decides() {
    let policy = user(TABLE);
    let both =
        on_thing(Effect::Destroy, "railway.volumeDelete", "railway:volume/3d2c", &[&["railway:environment/staging"], &["railway:environment/production"]]);
    let Judgement::Hold(hold) = policy.judge_at(both, 1_000) else { panic!("not held") };
    assert_eq!(hold.because().place, "production");
    assert_eq!((hold.terms().approvers, hold.terms().confirm), (2, crate::verdict::Confirm::PlaceAndName));
    assert_eq!(hold.because().rule, "place.production destroy = \"hold\" (user.toml:8)");
}

#[test]
fn an_unknown_line_is_the_strictest_that_could_be() {
    let policy = user(TABLE);
    let unknown = |effect, scheme: &str| ask(effect, "x.y", Resource::unplaced(id(&format!("{scheme}:volume/1"))), Some(to("a.staging.example.com", 443)));
    assert_eq!(verdict(&policy, unknown(Effect::Write, "railway")), Held, "it could be in production");
    assert_eq!(verdict(&policy, unknown(Effect::Write, "k8s")), Allow, "no place has such things, so its host decides");
    let mut none = on_thing(Effect::Write, "x.y", "railway:volume/1", &[]);
    none.destination = Some(to("a.staging.example.com", 443));
    assert_eq!(verdict(&policy, none), Held, "no line at all is an unknown one");
    let endless: Vec<&str> = vec!["railway:environment/staging"; 65];
    assert_eq!(verdict(&policy, on_thing(Effect::Write, "x.y", "railway:volume/1", &[&endless])), Held, "too many ancestors to follow");
}

#[test]
fn a_connection_that_nobody_placed_could_touch_anything_behind_its_host() {
    let policy = user(&TABLE.replace("destroy = \"deny\"", "destroy = \"allow\""));
    let opaque = |lineage: fn(ResourceId) -> Resource| {
        ask(Effect::Opaque, "tcp.connection", lineage(id("tcp:backboard.railway.com:443")), Some(to("backboard.railway.com", 443)))
    };
    assert_eq!(verdict(&policy, opaque(Resource::rooted)), Allow, "somebody says that the host is all there is");
    assert_eq!(verdict(&policy, opaque(Resource::unplaced)), Held, "production could be behind it");
}

#[test]
fn what_a_look_found_counts() {
    let policy = user(TABLE);
    let mut request = ask(Effect::Write, "x.y", Resource::unplaced(id("railway:volume/1")), Some(to("backboard.railway.com", 443)));
    request.evidence.seen = Some(crate::look::Seen {
        resource: id("railway:volume/1"),
        name: "pgdata".into(),
        lineages: vec![vec![id("railway:environment/9f2")]],
        names: vec![(id("railway:environment/9f2"), "Staging".into())],
        losses: Vec::new(),
        undo: crate::look::Undo::Unknown,
    });
    assert_eq!(verdict(&policy, request.clone()), Allow, "people call it staging");
    if let Some(seen) = &mut request.evidence.seen {
        seen.lineages.push(vec![id("railway:environment/production")]);
    }
    assert_eq!(verdict(&policy, request.clone()), Held);
    if let Some(seen) = &mut request.evidence.seen {
        seen.lineages.pop();
        seen.resource = id("railway:volume/2");
    }
    assert_eq!(verdict(&policy, request), Held, "somebody looked at another thing");
}

#[test]
fn the_word_that_is_typed_says_which_place_where_another_could_have_the_name() {
    let typed = |text: &str, request: Request| match user(text).judge_at(request, 1_000) {
        Judgement::Hold(hold) => hold.confirm_name(),
        other => panic!("not held: {other:?}"),
    };
    let production = "[place.production]\nresources = [\"railway:environment/production\"]\ndestroy = \"hold\"\nconfirm = \"name\"\n";
    let volume = || on_thing(Effect::Destroy, "railway.volumeDelete", "railway:volume/3d2c", &[&["railway:environment/production"]]);
    assert_eq!(typed(production, volume()), "3d2c");
    // What `*` is for holds no thing of anybody's, and a folder holds no volume.
    let others = "[place.net]\nhosts = [\"*\"]\n[place.w]\npaths = [\".\"]\n";
    assert_eq!(typed(&format!("{production}{others}"), volume()), "3d2c");
    for other in ["resources = [\"railway:environment/staging\"]", "hosts = [\"staging.example\"]"] {
        assert_eq!(typed(&format!("{production}[place.staging]\n{other}\n"), volume()), "production/3d2c", "{other}");
    }
    let data = "[place.data]\npaths = [\"/data\"]\ndestroy = \"hold\"\nconfirm = \"name\"\n";
    let file = || on_file(Effect::Destroy, "/data/config");
    assert_eq!(typed(data, file()), "config");
    assert_eq!(typed(&format!("{data}[place.w]\npaths = [\".\"]\n"), file()), "data/config");
}

#[test]
fn hosts_by_name_wildcard_port_and_address() {
    let policy = user(TABLE);
    assert_eq!(verdict(&policy, at_host(Effect::Write, "db.prod.example.com", 5432)), Held);
    assert_eq!(verdict(&policy, at_host(Effect::Write, "db.prod.example.com", 5433)), Allow, "another port is the internet");
    assert_eq!(verdict(&policy, at_host(Effect::Destroy, "a.b.staging.example.com", 1)), Allow);
    assert_eq!(verdict(&policy, at_host(Effect::Destroy, "staging.example.com", 1)), Deny, "a wildcard is not the name itself");
    assert_eq!(verdict(&policy, at_host(Effect::Write, "198.51.100.7", 80)), Held);
    // Another name for an address in production.
    let mut alias = at_host(Effect::Write, "a.staging.example.com", 443);
    alias.destination.as_mut().unwrap().addresses = vec!["198.51.100.7".parse().unwrap()];
    assert_eq!(verdict(&policy, alias.clone()), Held);
    alias.destination.as_mut().unwrap().addresses = vec!["64:ff9b::198.51.100.7".parse().unwrap()];
    assert_eq!(verdict(&policy, alias), Held, "through NAT64");
}

#[test]
fn learnt_addresses_only_tighten() {
    let mut policy = user(TABLE);
    assert_eq!(policy.host_names(), [HostName::parse("db.prod.example.com").unwrap()]);
    let address = "192.0.2.44".parse().unwrap();
    policy.learn_addresses(&HostName::parse("db.prod.example.com").unwrap(), &[address]);
    assert_eq!(verdict(&policy, at_host(Effect::Write, "192.0.2.44", 5432)), Held, "the database by its bare address");
    let mut alias = at_host(Effect::Write, "innocent.example.org", 5432);
    alias.destination.as_mut().unwrap().addresses = vec![address];
    assert_eq!(verdict(&policy, alias), Held, "the database under another name");
    let mut loose = user("[place.models]\nhosts = [\"api.example.com\"]\nwrite = \"allow\"\n[place.internet]\nhosts = [\"*\"]\nwrite = \"hold\"");
    loose.learn_addresses(&HostName::parse("api.example.com").unwrap(), &[address]);
    let mut shared = at_host(Effect::Write, "evil.example.org", 443);
    shared.destination.as_mut().unwrap().addresses = vec![address];
    assert_eq!(verdict(&loose, shared), Held, "a shared address is no name");
}

#[test]
fn near_addresses_are_denied_unless_named() {
    let policy = user(
        "[place.internet]\nhosts=[\"*\"]\nread=\"allow\"\n[place.corp]\nhosts=[\"*.corp.example\"]\nread=\"allow\"\n[place.dev]\nhosts=[\"dev.example\", \"10.9.0.0/16\", \"127.0.0.1:8080\"]\nread=\"allow\"\n[names]\n\"stand.in\"=\"127.0.0.1:99\"",
    );
    for near in ["127.0.0.1", "169.254.169.254", "::1", "64:ff9b::a00:1", "203.0.113.9", "localhost", "x.localhost"] {
        assert_eq!(verdict(&policy, at_host(Effect::Read, near, 80)), Deny, "{near}");
    }
    let resolved = |host: &str, address: &str, port| {
        let mut request = at_host(Effect::Read, host, port);
        request.destination.as_mut().unwrap().addresses = vec![address.parse().unwrap()];
        let connected = policy.allows_address(&to(host, port), address.parse().unwrap());
        (verdict(&policy, request), connected)
    };
    assert_eq!(resolved("rebind.example.org", "127.0.0.1", 80), (Deny, Deny));
    assert_eq!(resolved("a.corp.example", "10.0.0.1", 80), (Deny, Deny), "a wildcard names nobody near");
    assert_eq!(resolved("dev.example", "10.0.0.1", 80), (Allow, Allow));
    assert_eq!(resolved("any.example.org", "10.9.1.1", 80), (Allow, Allow), "the range is named");
    assert_eq!(verdict(&policy, at_host(Effect::Read, "127.0.0.1", 8080)), Allow);
    assert_eq!(resolved("stand.in", "127.0.0.1", 443), (Allow, Allow));
    assert_eq!(policy.allows_address(&to("stand.in", 443), "10.0.0.1".parse().unwrap()), Deny, "mapped to another address");
    assert_eq!(policy.allows_address(&to("example.org", 443), "192.0.2.1".parse().unwrap()), Allow);
}

#[test]
fn a_range_as_wide_as_a_star_names_nobody_near() {
    let policy = user("[place.all]\nhosts=[\"0.0.0.0/0\", \"::/0\"]\nread=\"allow\"\n[place.lan]\nhosts=[\"192.168.7.0/24\", \"fd00:7::/32\"]\nread=\"allow\"");
    for (address, wanted) in [
        ("169.254.169.254", Deny),
        ("10.0.0.1", Deny),
        ("::1", Deny),
        ("192.0.2.1", Allow),
        ("2606:4700::1", Allow),
        ("192.168.7.9", Allow),
        ("fd00:7::1", Allow),
    ] {
        assert_eq!(verdict(&policy, at_host(Effect::Read, address, 80)), wanted, "{address}");
        assert_eq!(policy.allows_address(&to(address, 80), address.parse().unwrap()), wanted, "{address}");
    }
}

#[test]
fn no_rule_opens_what_is_near() {
    let policy = user(
        "[place.internet]\nhosts=[\"*\"]\nread=\"allow\"\n[[rule]]\nname=\"all\"\noperation=\"*\"\nverdict=\"allow\"\n[[rule]]\nname=\"i\"\nplace=\"internet\"\nverdict=\"allow\"",
    );
    assert_eq!(verdict(&policy, at_host(Effect::Read, "127.0.0.1", 80)), Deny);
    assert!(try_load(vec![layer(LayerKind::User, "[place.local]\nread=\"allow\"")]).is_err());
}

#[test]
fn paths_deeper_before_shallower() {
    let policy = user(
        "[place.w]\npaths=[\".\"]\nwrite=\"allow\"\ndestroy=\"allow\"\n[place.git]\npaths=[\".git\"]\ndestroy=\"hold\"\n[place.keys]\npaths=[\"**/*.pem\"]\nread=\"deny\"\nwrite=\"deny\"",
    );
    assert_eq!(verdict(&policy, on_file(Effect::Destroy, "/w/a")), Allow);
    assert_eq!(verdict(&policy, on_file(Effect::Destroy, "/w/.git/x")), Held);
    assert_eq!(verdict(&policy, on_file(Effect::Write, "/w/.git/x")), Allow, "left open, so the workspace's");
    assert_eq!(verdict(&policy, on_file(Effect::Write, "/w/.gitx")), Allow);
    assert_eq!(verdict(&policy, on_file(Effect::Read, "/w/d/a.pem")), Deny);
    assert_eq!(verdict(&policy, on_file(Effect::Write, "/wx/a")), Deny);
    for odd in ["/w/../etc/passwd", "w/a", "", "/w/./.git/x"] {
        assert_eq!(verdict(&policy, on_file(Effect::Write, odd)), Deny, "{odd}: cannot be placed");
    }
}

#[test]
fn opaque_is_judged_as_destroy() {
    let policy = user(TABLE);
    assert_eq!(verdict(&policy, at_host(Effect::Opaque, "example.com", 443)), Deny);
    let mut nothing = at_host(Effect::Read, "example.com", 443);
    nothing.operations.clear();
    assert_eq!(verdict(&policy, nothing), Deny, "no operation is any operation");
}

#[test]
fn delegation_is_judged_where_it_could_reach() {
    let text = format!("{TABLE}\n[place.models]\nhosts=[\"api.anthropic.com\"]\nread=\"allow\"\nwrite=\"allow\"");
    let policy = user(&text.replace("destroy = \"deny\"", "destroy = \"allow\""));
    assert_eq!(verdict(&policy, at_host(Effect::Write, "api.anthropic.com", 443)), Allow);
    let Judgement::Hold(hold) = policy.judge_at(delegating(Reach::Anywhere), 1_000) else { panic!("not held") };
    assert_eq!((hold.because().place.as_str(), hold.terms().approvers), ("production", 2));
    let hosts = |hosts: &[&str]| delegating(Reach::Hosts(hosts.iter().map(|host| (*host).to_owned()).collect()));
    assert_eq!(verdict(&policy, hosts(&["a.staging.example.com:443"])), Allow);
    assert_eq!(verdict(&policy, hosts(&["a.staging.example.com", "db.prod.example.com"])), Held, "any port could be meant");
    assert_eq!(verdict(&policy, hosts(&["not a host"])), Held, "unreadable is anywhere");
    assert_eq!(verdict(&policy, hosts(&[])), Held, "an empty list is anywhere");
}

#[test]
fn secrets_handed_out_are_held_in_protected_places() {
    let policy = user(TABLE);
    let read = |environment: &str, yields| {
        let mut request = on_thing(Effect::Read, "railway.variables", "railway:service/1", &[&[environment]]);
        request.operations[0].yields_credential = yields;
        verdict(&policy, request)
    };
    assert_eq!(read("railway:environment/production", false), Allow);
    assert_eq!(read("railway:environment/production", true), Held);
    assert_eq!(read("railway:environment/staging", true), Allow);
}

#[test]
fn the_strictest_operation_decides() {
    let policy = user(TABLE);
    let mut request = at_host(Effect::Read, "example.com", 443);
    let worse = at_host(Effect::Destroy, "example.com", 443).operations;
    request.operations.extend(worse);
    assert_eq!(verdict(&policy, request), Deny);
}

#[test]
fn equally_specific_places_the_strictest() {
    let policy = user(
        "[place.a]\nhosts=[\"x.example\"]\nread=\"allow\"\nwrite=\"allow\"\n[place.b]\nhosts=[\"x.example\"]\nread=\"deny\"\n[place.all]\nhosts=[\"*\"]\nwrite=\"hold\"",
    );
    assert_eq!(verdict(&policy, at_host(Effect::Read, "x.example", 1)), Deny);
    assert_eq!(verdict(&policy, at_host(Effect::Write, "x.example", 1)), Held, "b leaves it to the wildcard");
}

#[test]
fn rules_loosen_what_they_name() {
    let rules = r#"
[[rule]]
name = "domains"
place = "production"
operation = "railway.customDomain*"
verdict = "allow"
expires = "2h"
[[rule]]
name = "unnamed"
operation = "railway.*"
verdict = "allow"
[[rule]]
name = "no forks"
operation = "github.fork"
verdict = "deny"
"#;
    let policy = user(&format!("{TABLE}{rules}"));
    let production: &[&[&str]] = &[&["railway:environment/production"]];
    let on = |effect, action: &str, lines| on_thing(effect, action, "railway:service/1", lines);
    assert_eq!(verdict(&policy, on(Effect::Write, "railway.customDomainCreate", production)), Allow);
    assert_eq!(verdict(&policy, on(Effect::Destroy, "railway.volumeDelete", production)), Held, "a rule without a place loosens nothing protected");
    assert_eq!(verdict(&policy, on(Effect::Destroy, "railway.volumeDelete", &[&[]])), Allow, "the internet is not protected");
    assert_eq!(verdict(&policy, on(Effect::Opaque, "railway.volumeDelete", &[&[]])), Deny, "what is not understood is not covered");
    assert_eq!(verdict(&policy, on(Effect::Write, "github.fork", &[&[]])), Deny);
    let two: &[&[&str]] = &[&["railway:environment/production"], &["railway:environment/staging"]];
    assert_eq!(verdict(&policy, on(Effect::Write, "railway.customDomainCreate", two)), Allow);
    let later = 1_000 + 2 * 3_600_000;
    assert_eq!(verdict_at(&policy, on(Effect::Write, "railway.customDomainCreate", production), later - 1), Allow);
    assert_eq!(verdict_at(&policy, on(Effect::Write, "railway.customDomainCreate", production), later), Held, "its time is over");
}

#[test]
fn what_is_not_understood_is_not_covered_by_looser_rules() {
    let rule =
        |effect: &str, verdict: &str| user(&format!("[place.net]\nhosts=[\"*\"]\ndestroy=\"hold\"\n[[rule]]\nname=\"r\"\n{effect}\nverdict=\"{verdict}\""));
    let opaque = || at_host(Effect::Opaque, "a.example", 443);
    assert_eq!(verdict(&rule("effect=\"destroy\"", "allow"), opaque()), Held);
    assert_eq!(verdict(&rule("", "allow"), opaque()), Held);
    assert_eq!(verdict(&rule("effect=\"opaque\"", "allow"), opaque()), Allow);
    assert_eq!(verdict(&rule("effect=\"destroy\"", "deny"), opaque()), Deny);
    assert_eq!(verdict(&rule("", "deny"), opaque()), Deny);
    assert_eq!(verdict(&rule("effect=\"write\"", "deny"), opaque()), Held);
}

#[test]
fn an_unnamed_rule_does_not_loosen_what_a_protected_place_leaves_open() {
    let policy = user(
        "[place.p]\nprotected=true\nresources=[\"r:env/p\"]\nread=\"allow\"\n[place.net]\nhosts=[\"*\"]\nwrite=\"hold\"\n[[rule]]\nname=\"r\"\noperation=\"r.*\"\nverdict=\"allow\"",
    );
    assert_eq!(verdict(&policy, on_thing(Effect::Write, "r.set", "r:thing/1", &[&[]])), Allow);
    assert_eq!(verdict(&policy, on_thing(Effect::Write, "r.set", "r:thing/1", &[&["r:env/p"]])), Held);
}

#[test]
fn a_rule_does_not_reach_deeper_than_the_place_it_names() {
    let policy = user(
        "[place.p]\nprotected=true\nresources=[\"r:env/p\"]\nwrite=\"hold\"\n[place.vault]\nresources=[\"r:thing/vault\"]\nwrite=\"deny\"\n[place.q]\nprotected=true\nhosts=[\"h.example\"]\nwrite=\"hold\"\n[[rule]]\nname=\"x\"\nplace=\"p\"\nverdict=\"allow\"",
    );
    let on = |thing: &str, host: &str| {
        let mut request = on_thing(Effect::Write, "r.set", thing, &[&["r:env/p"]]);
        request.destination = Some(to(host, 443));
        verdict(&policy, request)
    };
    assert_eq!(on("r:thing/1", "other.example"), Allow);
    assert_eq!(on("r:thing/vault", "other.example"), Deny, "the vault is more specific");
    assert_eq!(on("r:thing/1", "h.example"), Held, "the host's place is protected too, and not named");
}

#[test]
fn foreign_credentials_are_held() {
    let text = format!(
        "{TABLE}\n[credential.domains]\nsource=\"env:T\"\nfor=[\"backboard.railway.com\"]\nallow=[\"railway.customDomain*\",\"read\"]\nexpires=\"1h\"\n"
    )
    .replace("confirm   = \"name\"", "confirm = \"name\"\ncredentials = [\"domains\"]");
    let policy = user(&text);
    let asked = |effect, action: &str, environment: &str, name: &str, issued, now| {
        let mut request = on_thing(effect, action, "railway:service/1", &[&[environment]]);
        request.evidence.credentials = vec![credential(name, issued)];
        verdict_at(&policy, request, now)
    };
    let (production, staging) = ("railway:environment/production", "railway:environment/staging");
    assert_eq!(asked(Effect::Read, "railway.project", production, "domains", true, 1_000), Allow);
    assert_eq!(asked(Effect::Read, "railway.project", production, "domains", false, 1_000), Held, "only called so");
    assert_eq!(asked(Effect::Read, "railway.project", production, "unknown, ends in …7f3a", false, 1_000), Held);
    assert_eq!(asked(Effect::Write, "railway.customDomainCreate", staging, "domains", true, 1_000), Allow);
    assert_eq!(asked(Effect::Write, "railway.serviceCreate", staging, "domains", true, 1_000), Held, "beyond what it is for");
    assert_eq!(asked(Effect::Read, "railway.project", staging, "domains", true, 1_000 + 3_600_000), Held, "its time is over");
    let mut elsewhere = at_host(Effect::Read, "evil.example", 443);
    elsewhere.evidence.credentials = vec![credential("domains", true)];
    assert_eq!(verdict(&policy, elsewhere), Deny, "sent to another host");
}

#[test]
fn a_protected_place_needs_no_list_to_hold_what_is_foreign() {
    let text = "[place.open]\nhosts=[\"a.example\"]\nread=\"allow\"\n[place.prod]\nhosts=[\"p.example\"]\nprotected=true\nread=\"allow\"\nwrite=\"allow\"\ndestroy=\"allow\"\n[credential.given]\nsource=\"env:T\"\nfor=[\"p.example\"]\n";
    let policy = user(text);
    let asked = |host: &str, name: &str, issued| {
        let mut request = at_host(Effect::Read, host, 443);
        request.evidence.credentials = vec![credential(name, issued)];
        verdict(&policy, request)
    };
    assert_eq!(asked("p.example", "unknown", false), Held, "every other rule allows it");
    assert_eq!(asked("p.example", "given", true), Allow);
    assert_eq!(asked("p.example", "given", false), Held, "only called so");
    assert_eq!(asked("a.example", "unknown", false), Allow, "not a protected place");
}

#[test]
fn later_layers_override_cells_and_lists_add() {
    let profile = layer(LayerKind::Profile, "[place.a]\nhosts=[\"a.example\"]\nread=\"allow\"\nwrite=\"deny\"");
    let repository = layer(
        LayerKind::Repository { trusted: true },
        "[place.a]\nhosts=[\"b.example\"]\nwrite=\"allow\"\n[[rule]]\nname=\"r\"\noperation=\"x\"\nverdict=\"allow\"",
    );
    let own = layer(LayerKind::User, "[place.a]\nread=\"hold\"\n[[rule]]\nname=\"u\"\noperation=\"x\"\nverdict=\"deny\"");
    let policy = load(vec![profile, repository, own]);
    for host in ["a.example", "b.example"] {
        assert_eq!(verdict(&policy, at_host(Effect::Read, host, 1)), Held);
        assert_eq!(verdict(&policy, at_host(Effect::Write, host, 1)), Allow);
    }
    let mut request = at_host(Effect::Read, "a.example", 1);
    request.operations[0].action = crate::Action::new("x");
    assert_eq!(verdict(&policy, request), Deny, "the user's rule comes first");
}

#[test]
fn an_untrusted_repository_only_tightens() {
    let profile = "[place.net]\nhosts=[\"*\"]\nread=\"allow\"\nwrite=\"hold\"\n[limits]\nholds=10\n[env]\npass=[\"PATH\"]\n";
    let repository = "nested-userns=true\nkernel-gate=\"judge\"\n[place.net]\nread=\"deny\"\nwrite=\"allow\"\n[place.mine]\nhosts=[\"evil.example\"]\nread=\"allow\"\nwrite=\"allow\"\n[[rule]]\nname=\"r\"\nverdict=\"allow\"\n[limits]\nholds=5\nconnections=7\nalike=1000\nburst=1000\n[env]\npass=[\"AWS_SECRET_ACCESS_KEY\"]\n[names]\n\"a.b\"=\"127.0.0.1\"\n[approval]\npatience=\"1h\"";
    let with = |trusted| load(vec![layer(LayerKind::Profile, profile), layer(LayerKind::Repository { trusted }, repository)]);
    let (untrusted, trusted) = (with(false), with(true));
    assert_eq!(verdict(&untrusted, at_host(Effect::Write, "evil.example", 1)), Held);
    assert_eq!(verdict(&trusted, at_host(Effect::Write, "evil.example", 1)), Allow);
    let settings = untrusted.settings();
    assert_eq!((settings.limits.holds, settings.limits.connections), (Some(5), Some(7)));
    assert_eq!((settings.limits.alike, settings.limits.burst), (Some(8), Some(12)), "what nobody has said is no open door");
    assert_eq!(settings.env.pass, ["PATH"]);
    assert!(settings.names.is_empty() && !settings.nested_userns && settings.kernel_gate == crate::policy::settings::KernelGate::Refuse);
    assert_eq!(settings.approval.patience.as_secs(), 900);
    assert!(untrusted.warnings().iter().any(|warning| warning.contains("agentbox policy trust")), "{:?}", untrusted.warnings());
    assert!(!trusted.warnings().iter().any(|warning| warning.contains("policy trust")));
}

#[test]
fn an_untrusted_repository_may_tighten() {
    let profile = layer(LayerKind::Profile, "[place.net]\nhosts=[\"*\"]\nread=\"allow\"");
    let repository = layer(
        LayerKind::Repository { trusted: false },
        "[place.bad]\nhosts=[\"bad.example\"]\nread=\"deny\"\n[[rule]]\nname=\"r\"\noperation=\"http.fork\"\nverdict=\"hold\"",
    );
    let policy = load(vec![profile, repository]);
    assert_eq!(verdict(&policy, at_host(Effect::Read, "bad.example", 1)), Deny);
    assert_eq!(verdict(&policy, at_host(Effect::Read, "other.example", 1)), Allow);
    let mut fork = at_host(Effect::Read, "other.example", 1);
    fork.operations[0].action = crate::Action::new("http.fork");
    assert_eq!(verdict(&policy, fork), Held);
}

#[test]
fn what_is_extended_comes_first_and_once() {
    // The user's layer extends the profile that is there already: that must not undo what the repository tightened.
    let repository = layer(LayerKind::Repository { trusted: false }, "[place.internet]\nread=\"deny\"");
    let base = shipped("default", Path::new("/")).unwrap();
    let policy = load(vec![base, repository, layer(LayerKind::User, "extends = \"default\"")]);
    assert_eq!(verdict(&policy, at_host(Effect::Read, "example.com", 443)), Deny);
}

#[test]
fn pass_through_is_the_users_alone() {
    let text = "pass-through = [\"pinned.example\", \"*.deep.example:443\"]";
    let policy = user(text);
    assert!(policy.passes_through(&to("pinned.example", 1)) && policy.passes_through(&to("a.deep.example", 443)));
    assert!(!policy.passes_through(&to("a.deep.example", 444)) && !policy.passes_through(&to("deep.example", 443)));
    for kind in [LayerKind::Profile, LayerKind::Repository { trusted: true }] {
        assert!(try_load(vec![layer(kind, text)]).is_err());
    }
    // Not by way of a file that the repository extends, either: it is as much as the one that extends it.
    let mut smuggle = |name: &str, _: &Path| Ok(LayerText { name: name.into(), base: "/w".into(), kind: LayerKind::User, bytes: text.into() });
    let repository = layer(LayerKind::Repository { trusted: true }, "extends = \"./more.toml\"");
    assert!(Policy::load(vec![repository], &context(), &mut smuggle).is_err());
}

#[test]
fn what_is_spoken_at_a_host_is_said_by_the_last_layer() {
    let profile = layer(LayerKind::Profile, "[protocols]\n\"db.example:3307\" = \"redis\"\n\"*.cache.example\" = \"redis\"");
    let policy = load(vec![profile, layer(LayerKind::User, "[protocols]\n\"db.example:3307\" = \"mysql\"")]);
    assert_eq!(policy.spoken(&to("db.example", 3307)), Some(Spoken::MySql));
    assert_eq!(policy.spoken(&to("db.example", 3308)), None);
    assert_eq!(policy.spoken(&to("a.cache.example", 7000)), Some(Spoken::Redis));
    let untrusted = layer(LayerKind::Repository { trusted: false }, "[protocols]\n\"db.example\" = \"mysql\"");
    assert_eq!(load(vec![untrusted]).spoken(&to("db.example", 1)), None);
    for wrong in ["[protocols]\n\"db.example\" = \"http\"", "[protocols]\n\"a/b/c\" = \"mysql\"", "protocols = [\"mysql\"]"] {
        assert!(try_load(vec![layer(LayerKind::User, wrong)]).is_err(), "{wrong}");
    }
}

#[test]
fn binding_covers_all_that_is_extended() {
    let mut second = "[place.a]\nread=\"allow\"".to_owned();
    let digest = |second: &str| {
        let second = second.to_owned();
        let mut resolve =
            move |name: &str, _: &Path| Ok(LayerText { name: name.into(), base: "/w".into(), kind: LayerKind::User, bytes: second.clone().into() });
        bind(layer(LayerKind::Repository { trusted: false }, "extends=\"./b.toml\""), &context(), &mut resolve).unwrap()
    };
    let before = digest(&second);
    assert_eq!(before.files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["agentbox.toml", "./b.toml"]);
    second.push('\n');
    assert_ne!(before.digest, digest(&second).digest);
}
