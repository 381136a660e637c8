//! The catalogue's data, and what is made of it.

use agentbox_core::Effect::{Destroy, Read, Write};
use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::meaning::request;

/// Action and effect of a call with a JSON body.
fn one(method: &str, url: &str, body: &str) -> (String, Effect) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = (!body.is_empty()).then_some(body.as_bytes());
    let operations = request(method, url, &headers, body).unwrap().operations;
    let [operation] = operations.as_slice() else { panic!("{operations:?}") };
    (operation.action.to_string(), operation.effect)
}

#[test]
fn the_data_are_whole() {
    for (book, at_least) in [
        (&AWS, 9_000),
        (&GCP, 14_000),
        (&GITHUB, 1_000),
        (&AZURE, 4_000),
        (&CLOUDFLARE, 1_500),
        (&DATADOG, 1_500),
        (&DIGITALOCEAN, 700),
        (&NETLIFY, 150),
        (&OKTA, 600),
        (&VERCEL, 300),
    ] {
        let mut count = 0;
        for (service, line) in book.all() {
            let words: Vec<&str> = line.split(' ').collect();
            let [method, path, name] = words.as_slice() else { panic!("{service}: {line}") };
            assert!(method.bytes().all(|byte| byte.is_ascii_uppercase()) && path.starts_with('/') && !name.is_empty(), "{service}: {line}");
            assert!(path.matches("**").count() <= 1, "{service}: {line}");
            count += 1;
        }
        assert!(count >= at_least, "{count}");
    }
}

#[test]
fn a_name_tells_what_the_path_hides() {
    for (method, url, body, action, effect) in [
        // The path is that of a read.
        (
            "PUT",
            "https://clouddirectory.eu-west-1.amazonaws.com/amazonclouddirectory/2017-01-11/directory",
            "{}",
            "aws.clouddirectory.DeleteDirectory",
            Destroy,
        ),
        ("POST", "https://api.detective.eu-west-1.amazonaws.com/graph/removal", "{}", "aws.detective.DeleteGraph", Destroy),
        ("DELETE", "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/billing", "", "aws.lambda.DeleteFunction", Destroy),
        ("POST", "https://access-analyzer.eu-west-1.amazonaws.com/analyzed-resource", "{}", "aws.access-analyzer.ListAnalyzedResources", Read),
        ("POST", "https://api.sagemaker.eu-west-1.amazonaws.com/nowhere", "{}", "http.post", Write),
        (
            "POST",
            "https://cloudresourcemanager.googleapis.com/v3/projects/shop:testIamPermissions",
            "{}",
            "gcp.cloudresourcemanager.projects.testIamPermissions",
            Read,
        ),
        ("DELETE", "https://compute.googleapis.com/compute/v1/projects/p/zones/z/disks/d", "", "gcp.compute.disks.delete", Destroy),
        (
            "DELETE",
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/l/datasets/d",
            "",
            "gcp.aiplatform.projects.locations.datasets.delete",
            Destroy,
        ),
        ("DELETE", "https://backup.eu-west-1.amazonaws.com/backup-vaults/v/vault-lock", "", "aws.backup.DeleteBackupVaultLockConfiguration", Destroy),
        ("DELETE", "https://backup.eu-west-1.amazonaws.com/legal-holds/h?cancelDescription=x", "", "aws.backup.CancelLegalHold", Destroy),
        ("DELETE", "https://dataexchange.eu-west-1.amazonaws.com/v1/jobs/j", "", "aws.dataexchange.CancelJob", Write),
        ("DELETE", "https://api.github.com/repos/acme/shop", "", "github.repos.delete", Destroy),
        (
            "DELETE",
            "https://management.azure.com/subscriptions/s/resourcegroups/rg/providers/Microsoft.Compute/Disks/d1?api-version=2025-01-01",
            "",
            "azure.compute.disks.delete",
            Destroy,
        ),
        ("DELETE", "https://api.cloudflare.com/client/v4/accounts/a/d1/database/d", "", "cloudflare.d1.database.delete", Destroy),
        ("GET", "https://api.datadoghq.eu/api/v1/slo/can_delete", "", "datadog.check_can_delete_slo", Read),
        ("DELETE", "https://api.datadoghq.eu/api/v1/monitor/3", "", "datadog.delete_monitor", Destroy),
        ("DELETE", "https://api.digitalocean.com/v2/droplets/3", "", "digitalocean.droplets.destroy", Destroy),
        ("DELETE", "https://api.netlify.com/api/v1/sites/s", "", "netlify.deleteSite", Destroy),
        ("DELETE", "https://acme.okta.com/api/v1/groups/g1", "", "okta.delete_group", Destroy),
        ("DELETE", "https://api.vercel.com/v9/projects/shop", "", "vercel.deleteProject", Destroy),
    ] {
        assert_eq!(one(method, url, body), (action.to_owned(), effect), "{method} {url}");
    }
}

#[test]
fn a_name_makes_no_body_harmless() {
    // A query that deletes is no read, whatever the operation is called.
    let run = |sql: &str| one("POST", "https://bigquery.googleapis.com/bigquery/v2/projects/p/queries", &format!(r#"{{"query":"{sql}"}}"#));
    assert_eq!(run("DELETE FROM d.t WHERE true").1, Destroy);
    assert_eq!(run("DROP TABLE d.t").1, Destroy);
    // A path with two readings has no name.
    assert_eq!(one("POST", "https://access-analyzer.eu-west-1.amazonaws.com//analyzed-resource", "{}").0, "http.post");
    // Nor has a host that only looks like the provider's.
    for host in ["access-analyzer.s3-website-us-east-1.amazonaws.com", "access-analyzer.us-east-1.elb.amazonaws.com"] {
        assert_eq!(one("POST", &format!("https://{host}/analyzed-resource"), "{}"), ("http.post".to_owned(), Write), "{host}");
    }
    assert_eq!(one("POST", "https://access-analyzer.eu-west-1.amazonaws.com.evil.example/analyzed-resource", "{}").1, Write);
}
