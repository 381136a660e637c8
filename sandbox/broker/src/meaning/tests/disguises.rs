//! What a client adds to make a request look harmless: headers, words and shapes that the server takes no notice of.

use agentbox_core::Effect::{Destroy, Opaque, Read, Write};

use super::{FORM, JSON, at};

#[test]
fn a_header_of_another_dialect_changes_nothing() {
    let target = ("x-amz-target", "Lambda.GetFunction");
    assert_eq!(at("lambda.us-east-1.amazonaws.com", "DELETE", "/2015-03-31/functions/orders", &[target], None), Destroy);
    assert_eq!(at("lambda.us-east-1.amazonaws.com", "DELETE", "/2015-03-31/functions/orders?Action=GetFunction", &[], None), Destroy);
    // A service that reads forms reads this one, whatever its type.
    let body = Some(&b"Action=TerminateInstances&InstanceId.1=i-1"[..]);
    assert!(at("ec2.us-east-1.amazonaws.com", "POST", "/", &[("content-type", "text/plain"), ("x-amz-target", "X.DescribeInstances")], body) > Read);
    let s3 = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(at("api.acme.example", "DELETE", "/v1/volumes/3?tagging", &[s3], None), Destroy);
    assert_eq!(at("api.acme.example", "PUT", "/v1/volumes/3", &[s3, JSON], Some(br#"{"deletionProtection":false}"#)), Destroy);
    let control = "123456789012.s3-control.us-east-1.amazonaws.com";
    assert_eq!(at(control, "DELETE", "/v20180820/configuration/publicAccessBlock", &[], None), Destroy);
    assert_eq!(at("kafka.acme.example", "POST", "/topics/x", &[JSON], Some(br#"{"records":[{"key":"a","value":1}],"action":"delete"}"#)), Destroy);
}

#[test]
fn a_trial_is_believed_only_where_there_is_one() {
    for target in ["/apis/acme/v1/users/7?dryRun=All", "/api/v1/services/3?dryRun=All", "/api/v1/nodes/3?dryRun=All", "/api/v1/users/7?dryRun=All"] {
        assert_eq!(at("app.acme.example", "DELETE", target, &[], None), Destroy, "{target}");
    }
    let jobs = "/bigquery/v2/projects/p/jobs";
    assert_eq!(at("bigquery.googleapis.com", "POST", jobs, &[JSON], Some(br#"{"dryRun":true,"configuration":{"query":{"query":"DROP TABLE a.b"}}}"#)), Destroy);
    assert_eq!(at("bigquery.googleapis.com", "POST", jobs, &[JSON], Some(br#"{"configuration":{"dryRun":true,"query":{"query":"DROP TABLE a.b"}}}"#)), Read);
    assert_eq!(at("bigquery.googleapis.com", "POST", "/bigquery/v2/projects/p/datasets/d/tables/t:purge", &[JSON], Some(br#"{"dryRun":true}"#)), Destroy);
}

#[test]
fn a_name_that_people_chose_is_no_kind() {
    assert_eq!(at("storage.googleapis.com", "DELETE", "/bucket/operations/3", &[], None), Destroy);
    assert_eq!(at("firestore.googleapis.com", "DELETE", "/v1/projects/p/databases/d/documents/operations/3", &[], None), Destroy);
    // Records of persons, where they are no part of anything.
    assert_eq!(at("api.acme.example", "DELETE", "/v1/members/3", &[], None), Destroy);
    assert_eq!(at("api.acme.example", "DELETE", "/v1/subscribers/3", &[], None), Destroy);
    assert_eq!(at("api.acme.example", "DELETE", "/v1/teams/9/members/3", &[], None), Write);
    assert_eq!(at("k8s.acme.example", "DELETE", "/apis/acme.example/v1/namespaces/x/databasebindings/a", &[], None), Destroy);
}

#[test]
fn an_endpoint_that_looks_like_a_search_reads_only_a_search() {
    for (target, body, wanted) in [
        ("/x/_search", r#"{"query":{"term":{"action":"delete"}},"size":1}"#, Read),
        ("/x/_search", r#"{"action":"delete","id":3}"#, Destroy),
        ("/_sql", r#"{"query":"DELETE FROM orders"}"#, Destroy),
        ("/_plugins/_sql", r#"{"query":"DELETE FROM orders"}"#, Destroy),
        ("/_plugins/acme/remove/everything", "{}", Destroy),
        ("/x/_update/1", r#"{"action":"delete"}"#, Destroy),
        ("/_open/delete", "{}", Destroy),
    ] {
        assert_eq!(at("es.acme.example", "POST", target, &[JSON], Some(body.as_bytes())), wanted, "{target} {body}");
    }
}

#[test]
fn nothing_hides_behind_a_bound() {
    let query = |text: String| at("app.acme.example", "POST", "/v1/run", &[JSON], Some(serde_json::json!({ "query": text }).to_string().as_bytes()));
    assert_eq!(query("SELECT 1; DROP TABLE users".to_owned()), Destroy);
    assert_eq!(query(format!("SELECT {} FROM t; DROP TABLE users", vec!["a"; 500].join(", "))), Destroy);
    assert_eq!(query("/* hello */ DROP TABLE users".to_owned()), Destroy);
    assert!(query(format!("SELECT 1 /* {} */; DROP TABLE users", "a ".repeat(200_000))) > Write);
    assert_eq!(query("SELECT name FROM users".to_owned()), Write);
    let many = serde_json::json!({ "statements": vec!["SELECT 1"; 1001] }).to_string();
    assert_eq!(at("app.acme.example", "POST", "/v1/run", &[JSON], Some(many.as_bytes())), Opaque);
    let mut pipeline = vec![serde_json::json!(["GET", "a"]); 10_000];
    pipeline.push(serde_json::json!(["DEL", "a"]));
    let pipeline = serde_json::Value::Array(pipeline).to_string();
    assert!(at("x.upstash.io", "POST", "/pipeline", &[JSON], Some(pipeline.as_bytes())) > Write);
    let lines = "{\"a\":1}\n".repeat(100_001) + "{\"action\":\"delete\"}\n";
    assert!(at("app.acme.example", "POST", "/v1/import", &[("content-type", "text/plain")], Some(lines.as_bytes())) > Write);
    let elements = "<a/>".repeat(100_001) + "<Delete/>";
    assert!(at("app.acme.example", "POST", "/v1/import", &[("content-type", "text/xml")], Some(elements.as_bytes())) > Write);
    let mut form: String = (0..70).map(|number| format!("Attribute.{number}.Name=x&Attribute.{number}.Value=y&")).collect();
    form.push_str("Attribute.99.Name=MessageRetentionPeriod&Attribute.99.Value=60");
    let form = format!("Action=SetQueueAttributes&{form}");
    assert_eq!(at("sqs.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(form.as_bytes())), Destroy);
}

#[test]
fn a_change_that_is_not_json_and_an_open_input_are_held() {
    let yaml = ("content-type", "application/apply-patch+yaml");
    let target = "/apis/apps/v1/namespaces/prod/deployments/a";
    assert_eq!(at("k8s.acme.example", "PATCH", target, &[yaml], Some(b"spec:\n  template: null\n")), Opaque);
    assert_eq!(at("k8s.acme.example", "PATCH", target, &[yaml], Some(br#"{"spec":{"replicas":3}}"#)), Write);
    assert_eq!(at("k8s.acme.example", "GET", "/api/v1/namespaces/prod/pods/a/exec?command=cat&stdin=t", &[], None), Opaque);
}
