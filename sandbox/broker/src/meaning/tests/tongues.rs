//! Orders in other tongues and other shapes of calls: verbs that are not English, methods among arguments, records that are put away.

use agentbox_core::Effect::{self, Destroy, Read, Write};

use crate::meaning::example;

fn all(rows: &[(&str, &str, &str, Effect)]) {
    for (method, url, body, wanted) in rows {
        let request = example(method, url, (!body.is_empty()).then_some(body)).unwrap();
        assert_eq!(request.worst().unwrap().effect, *wanted, "{method} {url} {body}");
    }
}

#[test]
fn verbs_are_not_all_english() {
    all(&[
        ("POST", "https://api.bank.example/v2/kunden/17/loeschen", "", Destroy),
        ("POST", "https://api.bank.example/v2/kunden/17/l%C3%B6schen", "", Destroy),
        ("POST", "https://api.bank.example/v2/clientes/17/eliminar", "", Destroy),
        ("POST", "https://api.bank.example/v2/clients/17/supprimer", "", Destroy),
        ("POST", "https://api.bank.example/rpc/eliminarCliente", r#"{"id":17}"#, Destroy),
        ("POST", "https://api.bank.example/v2/kunden/suche", r#"{"name":"x"}"#, Write),
        ("POST", "https://api.bank.example/v2/clientes/17/actualizar", r#"{"nombre":"x"}"#, Write),
        ("POST", "https://api.bank.example/rpc/crearCliente", r#"{"nombre":"eliminar"}"#, Write),
    ]);
}

#[test]
fn the_method_may_stand_among_the_arguments() {
    let odoo = |method: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"call","params":{{"service":"object","method":"execute_kw","args":["d",2,"k","res.partner","{method}",[[7]]]}}}}"#
        )
    };
    all(&[
        ("POST", "https://erp.acme.example/jsonrpc", &odoo("unlink"), Destroy),
        ("POST", "https://erp.acme.example/jsonrpc", &odoo("search_read"), Write),
        ("POST", "https://erp.acme.example/jsonrpc", &odoo("write"), Write),
        (
            "POST",
            "https://erp.acme.example/jsonrpc",
            r#"{"jsonrpc":"2.0","method":"call","params":{"service":"db","method":"drop","args":["m","shop"]}}"#,
            Destroy,
        ),
        ("POST", "https://erp.acme.example/jsonrpc", r#"{"jsonrpc":"2.0","method":"call","params":{"service":"db","method":"list","args":[]}}"#, Write),
        // Without the version of JSON-RPC, and with what the method is of before it.
        ("POST", "https://dns.acme.example/jsonrpc/", r#"{"method":"nameserver.deleteRecord","params":{"id":1}}"#, Destroy),
        ("POST", "https://dns.acme.example/jsonrpc/", r#"{"method":"nameserver.info","params":{"domain":"delete.example"}}"#, Write),
        ("POST", "https://nas.acme.example/webapi/entry.cgi", "api=ACME.FileStation.Delete&method=start", Destroy),
        ("POST", "https://nas.acme.example/webapi/entry.cgi", "api=ACME.FileStation.List&method=list", Write),
        ("POST", "https://isp.acme.example/remote/json.php?mail_user_delete", r#"{"primary_id":1}"#, Destroy),
        ("POST", "https://isp.acme.example/remote/json.php?mail_user_add", r#"{"primary_id":1}"#, Write),
        ("POST", "https://one.acme.example/rpc", r#"{"jsonrpc":"2.0","method":"one.vm.action","params":["s","terminate-hard",3]}"#, Destroy),
        ("POST", "https://one.acme.example/rpc", r#"{"jsonrpc":"2.0","method":"one.vm.action","params":["s","poweroff",3]}"#, Write),
        ("POST", "https://lms.acme.example/rest/server.php", "wsfunction=core_course_delete_courses&ids[0]=2", Destroy),
        ("POST", "https://lms.acme.example/rest/server.php", "wsfunction=core_course_create_courses&name=delete", Write),
        ("POST", "https://todo.acme.example/sync", "commands=[{\"type\":\"item_delete\",\"args\":{\"id\":\"1\"}}]", Destroy),
        ("POST", "https://todo.acme.example/sync", "commands=[{\"type\":\"item_add\",\"args\":{\"content\":\"delete\"}}]", Write),
        ("POST", "https://sheet.acme.example/api/docs/d/apply", r#"[["BulkRemoveRecord","T",[1,2]]]"#, Destroy),
        ("POST", "https://sheet.acme.example/api/docs/d/apply", r#"[["AddRecord","T",null,{}]]"#, Write),
        ("PUT", "https://sheet.acme.example/api/hooks/3", r#"{"events":["delete","update"]}"#, Write),
        ("POST", "https://label.acme.example/api/dm/actions?id=delete_tasks", r#"{"all":true}"#, Destroy),
        ("PUT", "https://parse.acme.example/classes/Score/E", r#"{"notes":{"__op":"Delete"}}"#, Destroy),
        ("PUT", "https://fw.acme.example/api/chains/input", r#"{"default_action":"drop"}"#, Write),
        ("PUT", "https://cloud.acme.example/v2/instance-pool/a:scale", r#"{"size":0}"#, Destroy),
        ("PUT", "https://cloud.acme.example/v2/instance-pool/a:scale", r#"{"size":2}"#, Write),
        ("POST", "https://salt.acme.example/run", r#"[{"client":"local","tgt":"web","fun":"file.remove","arg":["/srv/a"]}]"#, Destroy),
        ("POST", "https://salt.acme.example/run", r#"[{"client":"local","tgt":"web","fun":"cmd.run","arg":"rm -rf /srv"}]"#, Destroy),
        ("POST", "https://salt.acme.example/run", r#"[{"client":"local","tgt":"web","fun":"service.restart","arg":["nginx"]}]"#, Write),
        ("POST", "https://db.acme.example/controller/ejectNode", "node=a", Destroy),
        ("POST", "https://bmc.acme.example/redfish/v1/Managers/1/VirtualMedia/2/Actions/VirtualMedia.EjectMedia", "{}", Write),
    ]);
}

#[test]
fn calls_in_humps_and_in_one_word() {
    all(&[
        ("POST", "https://fw.acme.example/api/firewall/filter/delRule/aaaa-bbbb", "", Destroy),
        ("POST", "https://fw.acme.example/api/firewall/filter/setRule/aaaa-bbbb", "", Write),
        ("GET", "https://whm.acme.example/json-api/removeacct?user=acme", "", Destroy),
        ("GET", "https://whm.acme.example/json-api/listaccts?search=removeacct", "", Read),
        ("GET", "https://www.acme.example/help/delete-account?lang=en", "", Read),
        ("GET", "https://www.acme.example/help/removeads", "", Read),
        ("POST", "https://wiki.acme.example/w/api.php", "action=revisiondelete&ids=5", Destroy),
        ("GET", "https://www.acme.example/index.php?page=posts&do=remove&id=5", "", Destroy),
        ("POST", "https://chat.acme.example/api/v1/rooms.cleanHistory", r#"{"roomId":"a"}"#, Destroy),
        ("POST", "https://mq.acme.example/v2/queues/orders/drain", "", Destroy),
        ("POST", "https://k.acme.example/v1/node/n1/drain", "", Write),
        ("PUT", "https://chat.acme.example/client/v3/rooms/r/redact/ev/txn1", "{}", Destroy),
        ("POST", "https://api.acme.example/v2/reports/preview-deletion", r#"{"ids":[1]}"#, Write),
        ("POST", "https://graph.acme.example/alter", r#"{"drop_attr":"name"}"#, Destroy),
        ("POST", "https://ship.acme.example/parcels", r#"{"drop_location":"Berlin"}"#, Write),
        ("POST", "https://lb.acme.example/util/bash", r#"{"command":"run","utilCmdArgs":"-c 'rm -rf /config'"}"#, Destroy),
        ("POST", "https://lb.acme.example/util/bash", r#"{"command":"run","utilCmdArgs":"-c 'ls /config'"}"#, Write),
        ("POST", "https://loki.acme.example/loki/api/v1/query", "query=%7Bapp%3D%22delete%22%7D", Write),
        ("POST", "https://edr.acme.example/policy/entities/prevention-actions/v1?action_name=disable", r#"{"ids":["a"]}"#, Destroy),
        ("POST", "https://edr.acme.example/devices/entities/devices-actions/v2?action_name=contain", r#"{"ids":["a"]}"#, Write),
        ("GET", "http://plug.acme.example/rpc/Plug.FactoryReset", "", Destroy),
        ("GET", "http://plug.acme.example/rpc/Plug.GetStatus", "", Read),
        ("POST", "https://ecs.acme.example/", "Action=ReInitDisk&DiskId=d", Destroy),
    ]);
}

#[test]
fn a_record_may_be_put_away_without_being_deleted() {
    let at = "https://api.acme.example/v2/customers/17";
    all(&[
        ("PATCH", at, r#"{"deleted_at":"2026-11-26T20:00:00Z"}"#, Destroy),
        ("PATCH", at, r#"{"deletedAt":"2026-11-26T20:00:00Z"}"#, Destroy),
        ("PUT", at, r#"{"id":17,"name":"x","is_deleted":1}"#, Destroy),
        ("PATCH", at, r#"{"deleted":1}"#, Destroy),
        ("PATCH", at, r#"{"MarkedForDeletion":true}"#, Destroy),
        ("PUT", at, r#"{"status":"trash"}"#, Destroy),
        ("POST", "https://mail.acme.example/v1/me/messages/a/move", r#"{"destinationId":"deleteditems"}"#, Destroy),
        ("POST", "https://mail.acme.example/v1/me/messages/a/move", r#"{"destinationId":"archive"}"#, Write),
        // Taken out of the bin, told as not deleted, or looked for.
        ("PATCH", at, r#"{"deleted_at":null}"#, Write),
        ("PUT", at, r#"{"id":17,"name":"x","deleted":false,"is_deleted":0}"#, Write),
        ("POST", "https://api.acme.example/v2/customers", r#"{"name":"x","deleted_at":null}"#, Write),
        ("POST", "https://api.acme.example/v2/customers/search", r#"{"deleted":true,"limit":5}"#, Write),
        ("POST", "https://api.acme.example/v2/search/metadata", r#"{"isTrashed":true}"#, Write),
        ("POST", "https://api.acme.example/v2/customers/search", r#"{"action":"delete"}"#, Destroy),
        ("POST", "https://api.acme.example/graphql", r#"{"query":"mutation { updateUser(id:1,input:{deletedAt:\"2026-01-01\"}) { id } }"}"#, Destroy),
        ("POST", "https://api.acme.example/graphql", r#"{"query":"mutation { updateUser(id:1,input:{deletedAt:null}) { id } }"}"#, Write),
        ("PUT", "https://pm.acme.example/buckets/1/recordings/2/status/trashed.json", "", Destroy),
        ("PUT", "https://pm.acme.example/buckets/1/recordings/2/status/archived.json", "", Write),
        ("PUT", "https://desk.acme.example/api/tickets/1", r#"{"trashed_datetime":"2026-01-01T00:00:00"}"#, Destroy),
        ("PUT", "https://sign.acme.example/v2/folders/recyclebin", r#"{"envelopeIds":["e"]}"#, Destroy),
        ("PUT", "https://sign.acme.example/v2/folders/inbox", r#"{"envelopeIds":["e"]}"#, Write),
        ("POST", "https://vars.acme.example/v3/configs/config/secrets", r#"{"secrets":{"DB":null}}"#, Destroy),
        ("POST", "https://vars.acme.example/v3/configs/config/secrets", r#"{"secrets":{"DB":"x"}}"#, Write),
    ]);
}

#[test]
fn what_everybody_may_see_is_not_unseen() {
    all(&[
        ("PATCH", "https://git.acme.example/api/v1/repos/acme/shop", r#"{"private":false}"#, Destroy),
        ("PUT", "https://git.acme.example/api/v4/projects/4", r#"{"visibility":"public"}"#, Destroy),
        ("PATCH", "https://git.acme.example/api/v1/repos/acme/shop", r#"{"private":true}"#, Write),
        ("POST", "https://git.acme.example/api/v1/user/repos", r#"{"name":"x","private":false}"#, Write),
        ("PATCH", "https://api.acme.example/v1/comments/4", r#"{"private":false}"#, Write),
        ("POST", "https://git.acme.example/api/v1/repos/acme/shop/transfer", r#"{"new_owner":"x"}"#, Destroy),
        ("PUT", "https://git.acme.example/api/v4/projects/4/transfer", r#"{"namespace":"x"}"#, Destroy),
        ("POST", "https://bank.acme.example/v1/accounts/4/transfer", r#"{"amount":"1"}"#, Write),
        ("PUT", "https://api.git.example/2.0/repositories/acme/shop", r#"{"is_private":false}"#, Destroy),
        ("PUT", "https://hub.acme.example/api/models/acme/m/settings", r#"{"private":false}"#, Destroy),
        ("PUT", "https://hub.acme.example/api/models/acme/m/settings", r#"{"private":true}"#, Write),
        ("PATCH", "https://git.acme.example/api/v1/repos/acme/shop/issues/4", r#"{"private":false}"#, Write),
    ]);
}

#[test]
fn what_is_parted_or_taken_off_remains() {
    all(&[
        ("DELETE", "https://crm.acme.example/api/data/v9.2/accounts(1)/contacts(2)/$ref", "", Write),
        ("DELETE", "https://crm.acme.example/api/data/v9.2/accounts(1)", "", Destroy),
        ("DELETE", "https://cloud.acme.example/v1/groups/7/members/5/$ref", "", Write),
        ("DELETE", "https://cloud.acme.example/v1/volumes/3/$ref", "", Destroy),
        ("DELETE", "https://acme.s3.amazonaws.com/api/$ref", "", Destroy),
        ("DELETE", "https://cms.acme.example/jsonapi/node/article/a/relationships/tags", r#"{"data":[]}"#, Write),
        ("DELETE", "https://cms.acme.example/jsonapi/node/article/a", "", Destroy),
        ("POST", "https://api.acme.example/v1/issues/3/labels", r#"{"action":"remove","name":"x"}"#, Write),
        ("POST", "https://api.acme.example/v1/customers", r#"{"action":"remove","id":1}"#, Destroy),
        ("POST", "https://docs.acme.example/api/collections.remove_user", r#"{"id":"c","userId":"u"}"#, Write),
        ("POST", "https://docs.acme.example/api/admin/remove_user", r#"{"userId":"u"}"#, Destroy),
        ("DELETE", "https://blog.acme.example/ghost/api/admin/session/", "", Write),
        ("DELETE", "https://blog.acme.example/ghost/api/admin/members/?all=true", "", Destroy),
        ("DELETE", "https://api.acme.example/v2/posts/1/likes", "", Write),
        ("POST", "https://bill.acme.example/api/v2/subscriptions/1/remove_scheduled_cancellation", "", Write),
        // What hangs on a letter is a file; what hangs on a role is not.
        ("POST", "https://docs.acme.example/api/attachments.delete", r#"{"id":"a"}"#, Destroy),
        ("DELETE", "https://api.acme.example/v2/issues/5/attachments/7", "", Destroy),
        ("DELETE", "https://api.acme.example/v2/roles/5/policyAttachments/7", "", Write),
        ("DELETE", "https://api.acme.example/v1/users/self/favorites/courses/3", "", Write),
        ("DELETE", "https://api.acme.example/v1/databases/stars/tables/5", "", Destroy),
        ("DELETE", "https://api.acme.example/v1/relationships/5", "", Destroy),
        ("DELETE", "https://api.acme.example/v1/courses/3/assignments/4", "", Destroy),
        ("DELETE", "https://api.acme.example/v1/roles/3/assignments/4", "", Write),
        ("DELETE", "https://api.acme.example/v1/tasks/9/dependencies/2", "", Write),
        ("POST", "https://api.acme.example/v1/clients/bulk", r#"{"action":"restore","ids":["a"]}"#, Write),
        ("POST", "https://api.acme.example/v2/droplets/3/actions", r#"{"type":"restore","image":12}"#, Destroy),
        ("POST", "https://api.acme.example/rpc/terminateQuery", r#"{"id":1}"#, Write),
        ("POST", "https://api.acme.example/rpc/terminateInstance", r#"{"id":1}"#, Destroy),
        ("DELETE", "https://api2.acme.example/conversations/c/tags", r#"{"ids":["t"]}"#, Write),
        ("DELETE", "https://apiary.acme.example/hives/c/tags", "", Destroy),
        ("DELETE", "https://api.acme.example/organization_memberships/a", "", Write),
        ("DELETE", "https://api.acme.example/memberships/a", "", Destroy),
        ("DELETE", "https://api.acme.example/todos/3/completion", "", Write),
        ("DELETE", "https://api.acme.example/v5/pins/1", "", Destroy),
        ("DELETE", "https://api.acme.example/v5/user_account/following/boards/1", "", Write),
        ("DELETE", "https://api.acme.example/like/item/5", "", Write),
        ("DELETE", "https://api.acme.example/v3/users/4/ban", "", Write),
        ("DELETE", "https://chat.acme-api.example/messages/m/reaction/like", "", Write),
        ("DELETE", "https://chat.acme.example/files/m/reaction/like", "", Destroy),
        ("DELETE", "https://api.acme.example/v2/heartbeats/5", "", Destroy),
        ("POST", "https://api.acme.example/graphql", r#"{"query":"mutation { removeOrderLine(orderLineId: 1) { id } }"}"#, Write),
        ("POST", "https://reg.acme.example/v1/repositories/shop/tags", r#"{"action":"remove","tag":"v1"}"#, Destroy),
        ("DELETE", "https://api.acme.example/v1/chat/completions/c1", "", Destroy),
        ("DELETE", "https://api.acme.example/v1/projects/p1/users/u1", "", Destroy),
        ("DELETE", "https://api.acme.example/v1/votes/5", "", Destroy),
        ("POST", "https://api.acme.example/v1/servers/bulk", r#"{"action":"restore","ids":["a"]}"#, Destroy),
        ("POST", "https://api.acme.example/v1/search/alerts", r#"{"action":"delete"}"#, Destroy),
    ]);
}

#[test]
fn what_a_lifecycle_lets_expire_is_gone() {
    let at = "https://api.store.example/v1/buckets/b/lifecycle";
    all(&[
        ("PUT", at, r#"{"rules":[{"expiration":{"days":90}}]}"#, Destroy),
        ("PUT", at, r#"{"rules":[{"prefix":"","ttl":86400}]}"#, Destroy),
        ("PUT", at, r#"{"rules":[{"expire_after_days":365}]}"#, Destroy),
        ("PUT", at, r#"{"rules":[{"transition":{"days":30,"storage_class":"cold"}}]}"#, Write),
        ("PUT", at, r#"{"rules":[{"abort_incomplete_multipart_upload":{"days_after_initiation":7}}]}"#, Write),
        ("PUT", at, r#"{"rules":[{"expired_object_delete_marker":true}]}"#, Write),
        ("POST", "https://api.acme.example/v1/users/5/lifecycle/expire_password", "{}", Write),
    ]);
    // A store that speaks like S3.
    let rule = |what: &str| format!("<LifecycleConfiguration><Rule><{what}><Days>90</Days></{what}></Rule></LifecycleConfiguration>");
    for (what, wanted) in [("Expiration", Destroy), ("Transition", Write)] {
        let body = rule(what);
        assert_eq!(super::worst("PUT", "/b?lifecycle", &[("content-type", "application/xml")], Some(body.as_bytes())), wanted, "{what}");
    }
}
