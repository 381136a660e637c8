//! What bodies say.

use serde_json::json;

use super::*;

fn changing() -> Around {
    Around { changes: true, ..Around::default() }
}

fn says(value: Value) -> bool {
    destroys(&Content::Json(value), &changing()).is_some()
}

#[test]
fn verbs_and_deletions_in_fields() {
    for value in [
        json!({ "action": "delete", "ids": [1] }),
        json!([{ "op": "remove", "path": "/a" }]),
        json!({ "requests": [{ "method": "GET" }, { "method": "DELETE", "url": "/x" }] }),
        json!({ "deletes": [{ "id": 1 }] }),
        json!({ "deletedAt": "2026" }),
        json!({ "attributes": { "is-destroy": true } }),
        json!({ "t": [{ "DeleteRequest": { "Key": 1 } }] }),
    ] {
        assert!(says(value.clone()), "{value}");
    }
    for value in [
        json!({ "action": "create" }),
        json!({ "text": "delete" }),
        json!({ "deletes": [] }),
        json!({ "deletedAt": null }),
        json!({ "delete": false }),
        json!({ "type": "a sentence that says delete" }),
        json!({ "title": "How to remove a file" }),
    ] {
        assert!(!says(value.clone()), "{value}");
    }
}

#[test]
fn guards_switched_off() {
    for value in [
        json!({ "DeletionProtection": false }),
        json!({ "versioning": { "enabled": false } }),
        json!({ "retentionDays": 0 }),
        json!({ "auto_backup_enabled": false }),
        json!({ "disableBackups": true }),
        json!({ "settings": { "backupConfiguration": { "enabled": false } } }),
        json!({ "logging": "off" }),
        json!({ "commands": [{ "allocate_empty_primary": { "index": "a", "accept_data_loss": true } }] }),
        json!({ "dataProtectionMode": "FORCE_DATA_LOSS" }),
    ] {
        assert!(says(value.clone()), "{value}");
    }
    for value in [
        json!({ "DeletionProtection": true }),
        json!({ "retentionDays": 30 }),
        json!({ "versioning": { "enabled": true } }),
        json!({ "disableBackups": false }),
        json!({ "clock": false }),
        json!({ "accept_data_loss": false }),
        json!({ "title": "How to allow no data loss", "dataLossWindow": "5m" }),
    ] {
        assert!(!says(value.clone()), "{value}");
    }
}

#[test]
fn statements_and_elements() {
    assert!(says(json!({ "sql": "drop table users" })));
    assert!(says(json!({ "Sqls": ["SELECT 1", "WITH x AS (DELETE FROM a RETURNING 1) SELECT 1"] })));
    assert!(!says(json!({ "query": "how to drop a table" })));
    assert!(!says(json!({ "sql": "SELECT deleted FROM t" })));
    let text = |text: &str| destroys(&Content::Text(text.to_owned()), &changing()).is_some();
    assert!(text("TRUNCATE TABLE events"));
    assert!(text("<Delete xmlns=\"x\"><Object/></Delete>"));
    assert!(text("<soap:Body><m:DeleteUser/></soap:Body>"));
    assert!(text("<methodCall><methodName>wp.deletePost</methodName></methodCall>"));
    assert!(!text("<methodCall><methodName>wp.getPost</methodName></methodCall>"));
    let odoo = |method: &str| {
        format!(
            "<methodCall><methodName>execute_kw</methodName><params><value><string>d</string></value><value><string>{method}</string></value></params></methodCall>"
        )
    };
    assert!(text(&odoo("unlink")));
    assert!(!text(&odoo("search_count")));
    assert!(!text("please delete my account"));
}
