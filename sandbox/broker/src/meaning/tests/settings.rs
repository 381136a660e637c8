//! Settings by which a guard ends, in words that nobody listed, each beside its harmless neighbour; and orders by their names.

use agentbox_core::Effect::{self, Destroy, Read, Write};

use crate::meaning::example;

fn at(method: &str, target: &str, body: &str) -> Effect {
    let url = format!("https://api.acme.example/v1/{target}");
    example(method, &url, (!body.is_empty()).then_some(body)).unwrap().worst().unwrap().effect
}

/// Of each row the first body destroys and the others do not.
fn twins(rows: &[(&str, &str, &[&str])]) {
    for (target, loses, others) in rows {
        assert_eq!(at("PATCH", target, loses), Destroy, "{target} {loses}");
        for other in *others {
            assert_eq!(at("PATCH", target, other), Write, "{target} {other}");
        }
    }
}

#[test]
fn a_guard_is_known_by_its_words() {
    twins(&[
        ("boxes/1", r#"{"overwrite_safeguard":"off"}"#, &[r#"{"overwrite_safeguard":"on"}"#, r#"{"colour":"off"}"#]),
        ("boxes/1", r#"{"antiviral_scan":false}"#, &[r#"{"antiviral_scan":true}"#, r#"{"comments_enabled":false}"#]),
        ("boxes/1", r#"{"two_step_login":"optional"}"#, &[r#"{"two_step_login":"always"}"#]),
        ("boxes/1", r#"{"enforceSignedTags":false}"#, &[r#"{"enforceSignedTags":true}"#, r#"{"drawSignedTags":false}"#]),
        ("boxes/1", r#"{"require_review_to_publish":false}"#, &[r#"{"require_review_to_publish":true}"#, r#"{"require_phone":false}"#]),
        ("boxes/1", r#"{"mirrors":[]}"#, &[r#"{"mirrors":["b"]}"#, r#"{"colours":[]}"#]),
        ("boxes/1", r#"{"require2FA":false}"#, &[r#"{"require2FA":true}"#]),
        ("boxes/1", r#"{"preserve_old_files":"REMOVE"}"#, &[r#"{"preserve_old_files":"KEEP"}"#]),
        ("boxes/1", r#"{"parameters":[{"name":"full_page_writes","value":"off"}]}"#, &[r#"{"parameters":[{"name":"jit","value":"off"}]}"#]),
        ("boxes/1", r#"{"undo_window_hours":1,"bin":{"recovery_hours":1}}"#, &[r#"{"lunch_window_hours":1}"#]),
    ]);
}

#[test]
fn what_a_field_stands_in_tells_what_it_switches() {
    twins(&[
        ("intrusion-prevention", r#"{"mode":"monitor-only"}"#, &[r#"{"mode":"block"}"#, r#"{"title":"monitor"}"#]),
        ("boxes/1", r#"{"audit":{"collection":{"paused":true}}}"#, &[r#"{"audit":{"collection":{"paused":false}}}"#, r#"{"printer":{"paused":true}}"#]),
        ("boxes/1", r#"{"protections":{"trunk":null}}"#, &[r#"{"decorations":{"trunk":null}}"#]),
        ("boxes/1", r#"{"feature":"audit_log","enabled":false}"#, &[r#"{"feature":"dark_mode","enabled":false}"#]),
        ("backups/nightly", r#"{"frequency":"never"}"#, &[r#"{"frequency":"hourly"}"#, r#"{"note":"none"}"#, r#"{"public":false}"#, r#"{"tags":[]}"#]),
        ("alerts/7", r#"{"is_muted":true}"#, &[r#"{"is_muted":false}"#, r#"{"acknowledged":false}"#]),
        ("alerts/7/comments/2", r#"{"alarm":"off"}"#, &[r#"{"enabled":false}"#]),
        ("boxes/1", r#"{"event_retention":"PT12H"}"#, &[r#"{"event_retention":"P90D"}"#, r#"{"event_zone":"PT12H"}"#]),
        ("log-retention", r#"{"days":1}"#, &[r#"{"days":400}"#]),
        ("configs/retention.ms", r#"{"value":"1000"}"#, &[r#"{"value":"604800000"}"#]),
        ("policies/2", r#"[{"op":"replace","path":"/backup/enabled","value":false}]"#, &[r#"[{"op":"replace","path":"/title/enabled","value":false}]"#]),
        ("policies/2", r#"{"type":"MFA_ENROLL","status":"INACTIVE"}"#, &[r#"{"type":"COLOUR_CHOICE","status":"INACTIVE"}"#]),
        ("endpoints/1/agent", r#"{"uninstall_allowed":true}"#, &[r#"{"uninstall_allowed":false}"#]),
    ]);
}

#[test]
fn what_only_looks_like_it() {
    for (target, body) in [
        ("boxes/1", r#"{"security_groups":[]}"#),
        ("boxes/1", r#"{"log_every":0}"#),
        ("boxes/1", r#"{"keep_alive":0}"#),
        ("boxes/1", r#"{"expires_in_days":2}"#),
        ("boxes/1", r#"{"notify_on_recovery":false}"#),
        ("boxes/1", r#"{"deletion_protected":true}"#),
        ("boxes/1", r#"{"deleteOption":"Detach"}"#),
        ("audit/config", r#"{"events":{"delete":true}}"#),
    ] {
        assert_eq!(at("PATCH", target, body), Write, "{target} {body}");
    }
}

#[test]
fn orders_by_their_names() {
    for (call, wanted) in [
        ("turnOffShielding", Write),
        ("turnOffProtection", Destroy),
        ("turnOnProtection", Write),
        ("liftLegalHold", Destroy),
        ("placeLegalHold", Write),
        ("shortenRetention", Destroy),
        ("extendRetention", Write),
        ("detachWebAcl", Destroy),
        ("tearDownLab", Destroy),
        ("zeroizeDisk", Destroy),
        ("forgetPassword", Write),
        ("previewDelete", Write),
        ("previewAndDelete", Destroy),
        ("updateBoxDeleteProtection", Write),
        ("acme.audit.v1.Audit/StopRecording", Destroy),
        ("acme.audit.v1.Audit/StartRecording", Write),
        ("acme.cache.v1.Cache/Flush", Write),
        ("nodes/n1/evacuate-and-destroy", Destroy),
        ("policies/p1/lifecycle/deactivate", Destroy),
    ] {
        assert_eq!(at("POST", call, r#"{"id":1}"#), wanted, "{call}");
    }
    assert_eq!(example("POST", "https://api.acme.example/api/v1/nodes/n1/wipe", Some("{}")).unwrap().worst().unwrap().effect, Destroy);
    let rpc = |method: &str| {
        example("POST", "https://api.acme.example/rpc", Some(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#))).unwrap().worst().unwrap().effect
    };
    assert_eq!(rpc("vm.snapshot.rollback"), Destroy);
    assert_eq!(rpc("app.release.rollback"), Write);
    assert_eq!(at("GET", "boxes/deleted", ""), Read);
    // An element's own place in the document counts as a field's does.
    let xml = |on: &str| format!("<Config><ObjectLock><Enabled>{on}</Enabled></ObjectLock></Config>");
    for (on, wanted) in [("false", Destroy), ("true", Write)] {
        assert_eq!(super::at("api.acme.example", "PUT", "/v1/boxes/1", &[("content-type", "application/xml")], Some(xml(on).as_bytes())), wanted, "{on}");
    }
}
