//! AWS, Google Cloud, Azure, Kubernetes.

use agentbox_core::Effect::{Destroy, Opaque, Read, Write};

use super::{FORM, JSON, at};

const AMZ: (&str, &str) = ("content-type", "application/x-amz-json-1.1");

#[test]
fn aws_by_the_names_of_its_operations() {
    for (target, body, wanted) in [
        ("DynamoDB_20120810.DeleteTable", "{}", Destroy),
        ("DynamoDB_20120810.GetItem", "{\"Key\":{\"delete\":true}}", Read),
        ("DynamoDB_20120810.RestoreTableFromBackup", "{}", Write),
        ("DynamoDB_20120810.BatchWriteItem", r#"{"RequestItems":{"t":[{"DeleteRequest":{"Key":{}}}]}}"#, Destroy),
        ("DynamoDB_20120810.UpdateContinuousBackups", r#"{"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":false}}"#, Destroy),
        ("DynamoDB_20120810.UpdateContinuousBackups", r#"{"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}"#, Write),
        ("AWSFMS_20180101.DisassociateThirdPartyFirewall", "{}", Destroy),
        ("AWSSimbaAPIService_v20180301.RestoreVolumeFromSnapshot", "{}", Destroy),
        ("AmazonSSM.SendCommand", r#"{"Parameters":{"commands":["rm -rf /srv"]}}"#, Destroy),
        ("AmazonSSM.SendCommand", r#"{"Parameters":{"commands":["uptime"]}}"#, Write),
        ("Kinesis_20131202.RemoveTagsFromStream", "{}", Write),
    ] {
        let host = if target.starts_with("AmazonSSM") { "ssm.us-east-1.amazonaws.com" } else { "dynamodb.us-east-1.amazonaws.com" };
        assert_eq!(at(host, "POST", "/", &[AMZ, ("x-amz-target", target)], Some(body.as_bytes())), wanted, "{target} {body}");
    }
    // Two names: which counts, nobody can say. The general rules are stricter.
    assert_eq!(
        at("dynamodb.us-east-1.amazonaws.com", "POST", "/", &[AMZ, ("x-amz-target", "D.GetItem"), ("x-amz-target", "D.DeleteTable")], Some(b"{}")),
        Destroy
    );
    // Nor is it on a host of a customer's below AWS's own domain.
    for host in ["x1.execute-api.us-east-1.amazonaws.com", "shop-1.us-east-1.elb.amazonaws.com", "ec2-1-2-3-4.us-west-2.compute.amazonaws.com"] {
        assert_eq!(at(host, "POST", "/", &[AMZ, ("x-amz-target", "D.GetItem")], Some(br#"{"action":"delete"}"#)), Destroy, "{host}");
    }
    // On another host AWS's word for reading is nobody's.
    assert_eq!(at("aws.acme.example", "POST", "/", &[AMZ, ("x-amz-target", "D.GetItem")], Some(br#"{"action":"delete"}"#)), Destroy);
}

#[test]
fn aws_queries_and_trials() {
    let ec2 = |body: &str| at("ec2.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(body.as_bytes()));
    assert_eq!(ec2("Action=TerminateInstances&InstanceId.1=i-1"), Destroy);
    assert_eq!(ec2("Action=TerminateInstances&InstanceId.1=i-1&DryRun=true"), Read);
    assert_eq!(ec2("Action=TerminateInstances&InstanceId.1=i-1&DryRun=true&DryRun=false"), Destroy);
    assert_eq!(ec2("Action=DeleteTags&ResourceId.1=i-1"), Write);
    assert_eq!(ec2("Action=ReleaseAddress&AllocationId=1"), Destroy);
    assert_eq!(ec2("Action=DescribeInstances"), Read);
    // Only EC2 has trials.
    assert_eq!(at("rds.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=DeleteDBInstance&DryRun=true")), Destroy);
    assert_eq!(at("rds.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=ModifyDBInstance&BackupRetentionPeriod=0")), Destroy);
    assert_eq!(at("rds.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=ModifyDBInstance&BackupRetentionPeriod=30")), Write);
    assert_eq!(at("rds.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=CreateDBInstance&BackupRetentionPeriod=1")), Write);
    assert_eq!(at("sqs.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=DeleteMessage&ReceiptHandle=x")), Write);
    assert_eq!(at("sqs.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(b"Action=DeleteQueue")), Destroy);
    let retention = b"Action=SetQueueAttributes&Attribute.1.Name=MessageRetentionPeriod&Attribute.1.Value=60";
    assert_eq!(at("sqs.us-east-1.amazonaws.com", "POST", "/", &[FORM], Some(retention)), Destroy);
    let cbor = [("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")];
    assert_eq!(
        at("monitoring.us-east-1.amazonaws.com", "POST", "/service/GraniteServiceVersion20100801/operation/DeleteAlarms", &cbor, Some(b"\xa0")),
        Destroy
    );
    assert_eq!(at("monitoring.us-east-1.amazonaws.com", "POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", &cbor, Some(b"\xa0")), Read);
    assert_eq!(
        at("monitoring.us-east-1.amazonaws.com", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", &cbor, Some(b"\xa1")),
        Opaque
    );
    assert_eq!(at("guardduty.us-east-1.amazonaws.com", "DELETE", "/tags/arn%3Aaws%3Aguardduty%3Ax%2Fy?tagKeys=a", &[], None), Write);
    assert_eq!(at("guardduty.us-east-1.amazonaws.com", "DELETE", "/detector/12abc34d", &[], None), Destroy);
}

#[test]
fn s3_by_its_subresources() {
    let s3 = |method, target, body: Option<&str>| at("acme-prod.s3.us-east-1.amazonaws.com", method, target, &[], body.map(str::as_bytes));
    assert_eq!(s3("PUT", "/delete-me.txt", Some("hello")), Write);
    assert_eq!(s3("DELETE", "/tokens/a", None), Destroy);
    assert_eq!(s3("DELETE", "/db.dump?tagging", None), Write);
    assert_eq!(s3("DELETE", "/db.dump?uploadId=x", None), Write);
    assert_eq!(s3("DELETE", "/?lifecycle", None), Destroy);
    assert_eq!(s3("DELETE", "/db.dump?tagging&uploadId=x", None), Destroy);
    assert_eq!(s3("POST", "/?delete", Some("<Delete><Object><Key>a</Key></Object></Delete>")), Destroy);
    assert_eq!(
        s3(
            "PUT",
            "/?lifecycle",
            Some("<LifecycleConfiguration><Rule><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>")
        ),
        Destroy
    );
    assert_eq!(
        s3(
            "PUT",
            "/?lifecycle",
            Some("<LifecycleConfiguration><Rule><Status>Enabled</Status><Transition><Days>30</Days></Transition></Rule></LifecycleConfiguration>")
        ),
        Write
    );
    assert_eq!(s3("PUT", "/?versioning", Some("<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>")), Destroy);
    assert_eq!(s3("PUT", "/?logging", Some("<BucketLoggingStatus/>")), Destroy);
}

#[test]
fn kubernetes_verbs_and_kinds() {
    let k8s = |method, target, body: Option<&str>| at("k8s.acme.example", method, target, &[JSON], body.map(str::as_bytes));
    for (method, target, body, wanted) in [
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments/api", None, Destroy),
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments/api?dryRun=All", None, Read),
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments/api?dryRun=All&dryRun=", None, Destroy),
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments/api", Some(r#"{"dryRun":["All"]}"#), Read),
        ("DELETE", "/apis/apps/v1/namespaces/prod/deployments", None, Destroy),
        ("DELETE", "/apis/coordination.k8s.io/v1/namespaces/x/leases/a", None, Write),
        ("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/x/rolebindings/a", None, Write),
        ("POST", "/api/v1/namespaces/prod/pods/a/eviction", Some("{}"), Write),
        ("POST", "/apis/apps/v1/namespaces/prod/deployments", Some(r#"{"spec":{"replicas":1}}"#), Write),
        ("PATCH", "/apis/apps/v1/namespaces/prod/deployments/a", Some(r#"{"spec":{"replicas":0}}"#), Write),
        ("PATCH", "/apis/apps/v1/namespaces/prod/deployments/a", Some(r#"{"spec":{"template":null}}"#), Destroy),
        ("PATCH", "/apis/apps/v1/namespaces/prod/deployments/a", Some(r#"{"metadata":{"annotations":{"x":null}}}"#), Write),
        ("PATCH", "/apis/apps/v1/namespaces/prod/deployments/a", Some(r#"[{"op":"remove","path":"/metadata/labels/x"}]"#), Write),
        ("PATCH", "/apis/apps/v1/namespaces/prod/deployments/a", Some(r#"[{"op":"remove","path":"/spec/template"}]"#), Destroy),
        ("PATCH", "/api/v1/namespaces/prod/persistentvolumeclaims/a", Some(r#"{"metadata":{"finalizers":[]}}"#), Destroy),
        ("PUT", "/api/v1/namespaces/prod/configmaps/a", Some(r#"{"kind":"ConfigMap","data":{}}"#), Destroy),
        ("GET", "/api/v1/namespaces/prod/pods/a/exec?command=ls&stdout=1", None, Read),
        ("GET", "/api/v1/namespaces/prod/pods/a/exec?command=rm&command=-rf&command=/data", None, Destroy),
        ("GET", "/api/v1/namespaces/prod/pods/a/exec?command=sh&stdin=1&tty=1", None, Opaque),
        ("GET", "/api/v1/namespaces/prod/pods/a/exec?command=cat&stdin=true", None, Opaque),
        ("POST", "/api/v1/namespaces/prod/pods/a/portforward", None, Opaque),
        ("GET", "/api/v1/namespaces/prod/pods", None, Read),
        ("GET", "/api/v1/namespaces/prod/services/x/proxy/delete", None, Opaque),
    ] {
        assert_eq!(k8s(method, target, body), wanted, "{method} {target} {body:?}");
    }
    // A shape that others have, too: nothing of it is believed.
    assert_eq!(k8s("DELETE", "/api/v1/projects/3?dryRun=All", None), Destroy);
}

#[test]
fn google_and_azure() {
    assert_eq!(at("run.googleapis.com", "DELETE", "/v2/projects/p/locations/l/operations/3", &[], None), Write);
    assert_eq!(at("run.googleapis.com", "DELETE", "/v2/projects/p/locations/l/services/3", &[], None), Destroy);
    let query = |body: &str| at("bigquery.googleapis.com", "POST", "/bigquery/v2/projects/p/queries", &[JSON], Some(body.as_bytes()));
    assert_eq!(query(r#"{"query":"DROP TABLE a.b"}"#), Destroy);
    assert_eq!(query(r#"{"query":"DROP TABLE a.b","dryRun":true}"#), Read);
    assert_eq!(query(r#"{"query":"SELECT 'DROP TABLE a.b' FROM c"}"#), Write);
    let batch = "--b\r\nContent-Type: application/http\r\n\r\nDELETE /storage/v1/b/a/o/x HTTP/1.1\r\n\r\n--b--\r\n";
    assert_eq!(at("storage.googleapis.com", "POST", "/batch/storage/v1", &[("content-type", "multipart/mixed; boundary=b")], Some(batch.as_bytes())), Destroy);
    let azure = |method, target, body: &str| at("management.azure.com", method, target, &[JSON], Some(body.as_bytes()));
    let deployment = "/subscriptions/0b1f6471/resourcegroups/rg/providers/Microsoft.Resources/deployments/d1?api-version=2021-04-01";
    assert_eq!(azure("PUT", deployment, r#"{"properties":{"mode":"Complete"}}"#), Destroy);
    assert_eq!(azure("PUT", deployment, r#"{"properties":{"mode":"Incremental"}}"#), Write);
    assert_eq!(at("management.azure.com", "DELETE", "/subscriptions/0b1f6471/providers/Microsoft.Authorization/locks/prod", &[], None), Destroy);
    assert_eq!(at("management.azure.com", "DELETE", "/subscriptions/0b1f6471/providers/Microsoft.Authorization/roleAssignments/a", &[], None), Write);
}
