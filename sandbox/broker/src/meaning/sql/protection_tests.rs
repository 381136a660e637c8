//! Statements that delete no row and still cost something, beside their harmless neighbours.

use agentbox_core::Effect::{self, Destroy, Read, Write};

use super::{Dialect, Said, understand};

#[test]
fn what_guards_is_taken_away() {
    for (dialect, text, wanted) in [
        (Dialect::PostgreSql, "ALTER TABLE orders SET UNLOGGED", Destroy),
        (Dialect::PostgreSql, "ALTER TABLE orders SET LOGGED", Write),
        (Dialect::PostgreSql, "SELECT pg_create_restore_point('before')", Write),
        (Dialect::MsSql, "ALTER DATABASE shop REMOVE FILE f", Destroy),
        (Dialect::MsSql, "ALTER LOGIN x DISABLE", Write),
        (Dialect::MsSql, "DISABLE TRIGGER t ON orders", Destroy),
        (Dialect::ClickHouse, "REPLACE TABLE e (a Int) ENGINE = Memory", Destroy),
        (Dialect::MySql, "REPLACE INTO e VALUES (1)", Write),
        (Dialect::Other, "PROFILE MATCH (n) RETURN n", Read),
        (Dialect::Other, "PROFILE MATCH (n) DETACH DELETE n", Destroy),
        // A table that is called like a kind of thing.
        (Dialect::PostgreSql, "ALTER TABLE users DISABLE ROW LEVEL SECURITY", Destroy),
        (Dialect::PostgreSql, "ALTER TABLE users ENABLE ROW LEVEL SECURITY", Write),
        (Dialect::PostgreSql, "UPDATE users SET deleted_at = now() WHERE deleted_at IS NULL", Destroy),
        (Dialect::PostgreSql, "UPDATE users SET name = 'x' WHERE name IS NULL", Write),
        (Dialect::Other, "PAUSE SCHEDULES (SELECT id FROM [SHOW SCHEDULES] WHERE label = 'backup')", Destroy),
        (Dialect::PostgreSql, "SELECT cron.unschedule('nightly')", Destroy),
        (Dialect::PostgreSql, "SELECT remove_retention_policy('metrics')", Destroy),
        (Dialect::MySql, "SET GLOBAL innodb_flush_log_at_trx_commit = 0", Destroy),
        (Dialect::MySql, "SET GLOBAL innodb_flush_log_at_trx_commit = 1", Write),
        (Dialect::MySql, "SET GLOBAL sync_binlog = 0", Destroy),
        (Dialect::MySql, "ALTER INSTANCE DISABLE INNODB REDO_LOG", Destroy),
        (Dialect::MySql, "ALTER INSTANCE ENABLE INNODB REDO_LOG", Write),
        (Dialect::MySql, "ALTER EVENT nightly_backup DISABLE", Destroy),
        (Dialect::MySql, "ALTER EVENT newsletter DISABLE", Write),
        (Dialect::MySql, "LOAD DATA LOCAL INFILE '/tmp/x' REPLACE INTO TABLE t", Destroy),
        (Dialect::MySql, "LOAD DATA LOCAL INFILE '/tmp/x' INTO TABLE t", Write),
        (Dialect::MsSql, "BACKUP DATABASE shop TO DISK = 'x.bak' WITH INIT, FORMAT", Destroy),
        (Dialect::MsSql, "BACKUP DATABASE shop TO DISK = 'x.bak'", Write),
        (Dialect::MsSql, "DBCC CHECKDB ('shop')", Read),
        (Dialect::MsSql, "DBCC CHECKDB ('shop', REPAIR_ALLOW_DATA_LOSS)", Destroy),
        (Dialect::MsSql, "ALTER DATABASE shop SET PAGE_VERIFY NONE", Destroy),
        (Dialect::Snowflake, "ALTER ACCOUNT UNSET NETWORK_POLICY", Destroy),
        (Dialect::Snowflake, "ALTER TABLE t MODIFY COLUMN a UNSET MASKING POLICY", Destroy),
        (Dialect::Snowflake, "ALTER TABLE t UNSET COMMENT", Write),
        (Dialect::Snowflake, "PUT file:///tmp/x @stage OVERWRITE = TRUE", Destroy),
        (Dialect::Snowflake, "PUT file:///tmp/x @stage", Write),
        (Dialect::Snowflake, "ALTER TASK nightly_snapshot SUSPEND", Destroy),
        (Dialect::Snowflake, "ALTER TASK newsletter SUSPEND", Write),
    ] {
        let worst = understand(dialect, text.as_bytes(), &Said::new()).into_iter().map(|operation| operation.effect).max();
        assert_eq!(worst, Some::<Effect>(wanted), "{text}");
    }
}
