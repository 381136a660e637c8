//! Statements that delete no row and still cost something, beside their harmless neighbours.

use agentbox_core::Effect::{self, Destroy, Opaque, Read, Write};

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
        (Dialect::MySql, "ALTER TABLE t ENGINE = BLACKHOLE", Destroy),
        (Dialect::MySql, "ALTER TABLE t ADD c int, engine 'blackhole'", Destroy),
        (Dialect::MySql, "ALTER TABLE t ENGINE=`MEMORY`", Destroy),
        (Dialect::MySql, "ALTER TABLE t ENGINE = InnoDB", Write),
        (Dialect::MySql, "ALTER TABLE engine ADD memory int", Write),
        (Dialect::MySql, "ALTER IGNORE TABLE t ADD UNIQUE (a)", Destroy),
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

#[test]
fn a_statement_in_the_argument_of_a_function_is_read() {
    for (text, wanted) in [
        ("SELECT * FROM crosstab('SELECT a, b, c FROM t') AS x(a text, b text)", Read),
        ("SELECT * FROM crosstab('SELECT a, b, c FROM t', 2) AS x(a text, b text)", Read),
        ("SELECT * FROM crosstab('SELECT 1, 2, lo_unlink(3)') AS x(a text, b text)", Destroy),
        ("SELECT * FROM crosstab('SELECT a, b, c FROM t', 'SELECT lo_unlink(3)') AS x(a text, b text)", Destroy),
        ("SELECT * FROM crosstab(s.text) AS x(a text, b text)", Opaque),
        ("SELECT * FROM connectby('tree', 'id', 'parent_id', 'root', 0, '~') AS x(a text)", Read),
        ("SELECT * FROM connectby('tree', 'lo_unlink(id)', 'parent_id', 'root', 0) AS x(a text)", Opaque),
        ("SELECT ts_rewrite('a & b'::tsquery, 'SELECT t, s FROM aliases')", Read),
        ("SELECT ts_rewrite('a & b'::tsquery, 'SELECT lo_unlink(1)')", Destroy),
        ("SELECT * FROM xpath_table('id', 'x', 't; DELETE FROM t', '/a', 'true') AS x(a int)", Opaque),
    ] {
        let worst = understand(Dialect::PostgreSql, text.as_bytes(), &Said::new()).into_iter().map(|operation| operation.effect).max();
        assert_eq!(worst, Some::<Effect>(wanted), "{text}");
    }
}

#[test]
fn redis_lets_go_by_the_way() {
    for (command, wanted) in [
        ("XADD s * a b", Write),
        ("XADD maxlen MAXLEN ~ 1000 * a b", Write),
        ("XADD maxlen MAXLEN = 0 * a b", Destroy),
        ("XADD s NOMKSTREAM KEEPREF MAXLEN 1 * a b", Destroy),
        ("XADD s NOMKSTREAM MINID = 5 * a b", Destroy),
        ("XADD s * maxlen 0", Write),
        ("XACKDEL s g IDS 1 1-0", Destroy),
        ("HSETEX h PXAT 1 FIELDS 1 a b", Destroy),
        ("HSETEX h EX 60 FIELDS 1 a b", Write),
        ("FAILOVER TO h 1", Write),
        ("FAILOVER TO h 1 FORCE TIMEOUT 1", Destroy),
        ("CLUSTER FAILOVER", Write),
        ("CLUSTER FAILOVER TAKEOVER", Destroy),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let worst = super::redis::judge(&words, super::redis::FIRST_DATABASE).into_iter().map(|operation| operation.effect).max();
        assert_eq!(worst, Some::<Effect>(wanted), "{command}");
    }
}
