//! Functions with an effect, and those that reach out of the server: kept by hand.
//!
//! From the manuals: PostgreSQL 17 (9.28 system administration, 9.17 sequences, 33.3 and 33.4 large objects, F.1 adminpack, F.11 dblink),
//! pg_cron, pg_net, pgsql-http, aws_s3, TimescaleDB 2, MySQL 8.4 (UDF and replication functions), SQL Server 2022 (rowset functions),
//! Oracle 23 (PL/SQL packages), ClickHouse (table functions), BigQuery, DuckDB, SQLite's shell.

use super::{Dialect, Fact};

const FILE: &str = "touches a file on the server";
const REACH: &str = "the server connects elsewhere";
const RUNS: &str = "runs code that is not read here";
const SESSION: &str = "acts on a session, a lock or a statistic";
const JOB: &str = "removes what the server runs by the clock";
const SLOT: &str = "acts on replication";

/// By name, in lower case; sorted.
const POSTGRES: &[(&str, Fact)] = &[
    ("add_retention_policy", Fact::Destroys("lets data expire")),
    ("aws_lambda.invoke", Fact::Runs(REACH)),
    ("aws_s3.query_export_to_s3", Fact::Reaches(REACH, Some(0))),
    ("aws_s3.table_import_from_s3", Fact::Writes("loads rows")),
    ("cron.alter_job", Fact::Runs("changes what the server runs by the clock")),
    ("cron.schedule", Fact::Executes(2)),
    ("cron.schedule_in_database", Fact::Executes(2)),
    ("cron.unschedule", Fact::Destroys("removes what the server runs by the clock")),
    ("dblink", Fact::Reaches(REACH, Some(1))),
    ("dblink_connect", Fact::Reaches(REACH, None)),
    ("dblink_connect_u", Fact::Reaches(REACH, None)),
    ("dblink_exec", Fact::Reaches(REACH, Some(1))),
    ("dblink_open", Fact::Reaches(REACH, Some(2))),
    ("dblink_send_query", Fact::Reaches(REACH, Some(1))),
    ("delete_job", Fact::Destroys(JOB)),
    ("drop_chunks", Fact::Destroys("deletes the rows of old chunks")),
    ("gin_clean_pending_list", Fact::Writes("tidies an index up")),
    ("http", Fact::Runs(REACH)),
    ("http_delete", Fact::Runs(REACH)),
    ("http_get", Fact::Reaches(REACH, None)),
    ("http_head", Fact::Reaches(REACH, None)),
    ("http_patch", Fact::Runs(REACH)),
    ("http_post", Fact::Runs(REACH)),
    ("http_put", Fact::Runs(REACH)),
    ("lo_creat", Fact::Writes("makes a large object")),
    ("lo_create", Fact::Writes("makes a large object")),
    ("lo_export", Fact::Destroys("overwrites a file on the server")),
    ("lo_from_bytea", Fact::Writes("makes a large object")),
    ("lo_import", Fact::Writes(FILE)),
    ("lo_open", Fact::Writes("opens a large object")),
    ("lo_put", Fact::Writes("changes a large object")),
    ("lo_truncate", Fact::Destroys("cuts a large object")),
    ("lo_truncate64", Fact::Destroys("cuts a large object")),
    ("lo_unlink", Fact::Destroys("deletes a large object")),
    ("lowrite", Fact::Writes("changes a large object")),
    ("net.http_delete", Fact::Runs(REACH)),
    ("net.http_get", Fact::Reaches(REACH, None)),
    ("net.http_post", Fact::Runs(REACH)),
    ("nextval", Fact::Writes("takes a number from a sequence")),
    ("pg_advisory_unlock_all", Fact::Writes(SESSION)),
    ("pg_cancel_backend", Fact::Writes(SESSION)),
    ("pg_create_restore_point", Fact::Writes("names a point in the log")),
    ("pg_drop_replication_slot", Fact::Destroys("removes a replica's place in the log")),
    ("pg_file_rename", Fact::Destroys(FILE)),
    ("pg_file_unlink", Fact::Destroys(FILE)),
    ("pg_file_write", Fact::Destroys(FILE)),
    ("pg_logical_emit_message", Fact::Writes("writes into the log")),
    ("pg_logical_slot_get_binary_changes", Fact::Writes(SLOT)),
    ("pg_logical_slot_get_changes", Fact::Writes(SLOT)),
    ("pg_ls_dir", Fact::Shows("lists files on the server")),
    ("pg_read_binary_file", Fact::Shows("reads a file on the server")),
    ("pg_read_file", Fact::Shows("reads a file on the server")),
    ("pg_replication_origin_drop", Fact::Destroys("forgets how far replication has come")),
    ("pg_replication_slot_advance", Fact::Destroys("lets logs go that a replica needs")),
    ("pg_reset_wal", Fact::Destroys("loses logs")),
    ("pg_stat_reset", Fact::Writes(SESSION)),
    ("pg_stat_statements_reset", Fact::Writes(SESSION)),
    ("pg_surgery_heap_force_kill", Fact::Destroys("kills rows")),
    ("pg_terminate_backend", Fact::Writes(SESSION)),
    ("pg_wal_replay_pause", Fact::Writes(SLOT)),
    ("heap_force_freeze", Fact::Destroys("changes damaged rows")),
    ("heap_force_kill", Fact::Destroys("kills rows")),
    ("plv8_run", Fact::Runs(RUNS)),
    ("ps_kill", Fact::Writes(SESSION)),
    ("query_to_xml", Fact::Executes(0)),
    ("query_to_xml_and_xmlschema", Fact::Executes(0)),
    ("query_to_xmlschema", Fact::Executes(0)),
    ("remove_compression_policy", Fact::Destroys(JOB)),
    ("remove_continuous_aggregate_policy", Fact::Destroys(JOB)),
    ("remove_reorder_policy", Fact::Destroys(JOB)),
    ("remove_retention_policy", Fact::Destroys(JOB)),
    ("run_command_on_all_nodes", Fact::Executes(0)),
    ("run_command_on_shards", Fact::Executes(1)),
    ("run_command_on_workers", Fact::Executes(0)),
    ("set_config", Fact::Sets),
    ("setval", Fact::Writes("sets a sequence")),
    ("truncate_local_data_after_distributing_table", Fact::Destroys("empties a table")),
    ("connectby", Fact::Names),
    ("crosstab", Fact::ExecutesEach),
    ("crosstab2", Fact::ExecutesEach),
    ("crosstab3", Fact::ExecutesEach),
    ("crosstab4", Fact::ExecutesEach),
    ("ts_rewrite", Fact::Executes(1)),
    ("ts_stat", Fact::Executes(0)),
    ("xpath_table", Fact::Runs(RUNS)),
];

const OTHERS: &[(&str, Fact)] = &[
    ("ai.generate", Fact::Reaches(REACH, None)),
    ("dbms_ddl", Fact::Runs(RUNS)),
    ("dbms_scheduler.drop_job", Fact::Destroys("removes a job")),
    ("dbms_sql.parse", Fact::Executes(1)),
    ("dbms_utility.exec_ddl_statement", Fact::Executes(0)),
    ("dbms_xmlquery.getxml", Fact::Executes(0)),
    ("edit", Fact::Runs(RUNS)),
    ("executable", Fact::Runs("runs a program on the server")),
    ("external_query", Fact::Reaches(REACH, Some(1))),
    ("get_lock", Fact::Writes(SESSION)),
    ("java_method", Fact::Runs(RUNS)),
    ("lib_mysqludf_sys_info", Fact::Reads),
    ("load_extension", Fact::Runs(RUNS)),
    ("load_file", Fact::Shows("reads a file on the server")),
    ("mysql_query", Fact::Reaches(REACH, Some(1))),
    ("opendatasource", Fact::Reaches(REACH, None)),
    ("openquery", Fact::Reaches(REACH, Some(1))),
    ("openrowset", Fact::Reaches(REACH, Some(2))),
    ("postgres_query", Fact::Reaches(REACH, Some(1))),
    ("postgres_execute", Fact::Reaches(REACH, Some(1))),
    ("mysql_execute", Fact::Reaches(REACH, Some(1))),
    ("readfile", Fact::Shows("reads a file")),
    ("reflect", Fact::Runs(RUNS)),
    ("release_all_locks", Fact::Writes(SESSION)),
    ("release_lock", Fact::Writes(SESSION)),
    ("remote", Fact::Reaches(REACH, None)),
    ("remotesecure", Fact::Reaches(REACH, None)),
    ("s3", Fact::Reaches(REACH, None)),
    ("sys_bineval", Fact::Runs(RUNS)),
    ("sys_eval", Fact::Runs("runs a command on the server")),
    ("sys_exec", Fact::Runs("runs a command on the server")),
    ("url", Fact::Reaches(REACH, None)),
    ("utl_file.fopen", Fact::Writes(FILE)),
    ("utl_file.fremove", Fact::Destroys("deletes a file on the server")),
    ("utl_file.frename", Fact::Destroys("overwrites a file on the server")),
    ("utl_http.request", Fact::Reaches(REACH, None)),
    ("utl_tcp.open_connection", Fact::Reaches(REACH, None)),
    ("writefile", Fact::Destroys("overwrites a file")),
];

/// What is known of a function, by its name with or without its schema.
pub(super) fn known(dialect: Dialect, name: &str) -> Option<Fact> {
    let find = |list: &'static [(&'static str, Fact)]| list.iter().find(|(known, _)| *known == name).map(|(_, fact)| *fact);
    match dialect {
        Dialect::PostgreSql => find(POSTGRES),
        Dialect::MySql | Dialect::Sqlite | Dialect::MsSql | Dialect::Oracle | Dialect::ClickHouse | Dialect::Snowflake | Dialect::BigQuery => {
            find(OTHERS).or_else(|| shared(find(POSTGRES)))
        }
        Dialect::Other => find(OTHERS).or_else(|| find(POSTGRES)),
    }
}

/// Of PostgreSQL's only what loses something: elsewhere a function of the same name may be a harmless one.
fn shared(fact: Option<Fact>) -> Option<Fact> {
    match fact {
        Some(Fact::Destroys(_) | Fact::Writes(_)) => fact,
        Some(
            Fact::Reads
            | Fact::Runs(_)
            | Fact::Reaches(..)
            | Fact::Executes(_)
            | Fact::ExecutesEach
            | Fact::Names
            | Fact::Sets
            | Fact::Shows(_)
            | Fact::Unknown,
        )
        | None => None,
    }
}
