//! What statements are judged to be, dialect by dialect.

use agentbox_core::{Effect, Operation};
use proptest::prelude::*;

use super::{Dialect, Row, Said, of_row, understand};

const DIALECTS: [Dialect; 9] = [
    Dialect::PostgreSql,
    Dialect::MySql,
    Dialect::Sqlite,
    Dialect::MsSql,
    Dialect::Oracle,
    Dialect::ClickHouse,
    Dialect::Snowflake,
    Dialect::BigQuery,
    Dialect::Other,
];

fn worst(dialect: Dialect, text: &str) -> Operation {
    let found = understand(dialect, text.as_bytes(), &Said::new());
    found.into_iter().max_by_key(|operation| operation.effect).unwrap()
}

fn all_are(dialect: Dialect, wanted: &[Effect], texts: &[&str]) {
    let mut wrong = Vec::new();
    for text in texts {
        let worst = worst(dialect, text);
        if !wanted.contains(&worst.effect) {
            wrong.push(format!("{dialect:?}: {text}\n=> {:?} {} {}", worst.effect, worst.action, worst.reason));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn held(dialect: Dialect, texts: &[&str]) {
    all_are(dialect, &[Effect::Destroy, Effect::Opaque], texts);
}

fn written(dialect: Dialect, texts: &[&str]) {
    all_are(dialect, &[Effect::Write], texts);
}

fn read(dialect: Dialect, texts: &[&str]) {
    all_are(dialect, &[Effect::Read], texts);
}

#[test]
fn postgres_reads() {
    read(
        Dialect::PostgreSql,
        &[
            "",
            " ; ;; -- nothing",
            "SELECT 1",
            "select a, count(*) from t where b = 'DROP TABLE x' group by a having count(*) > 1 order by 1 limit 5",
            "SELECT \"delete\" FROM \"drop\" WHERE \"truncate\" = E'it\\'s; DROP TABLE x'",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SAVEPOINT a; RELEASE SAVEPOINT a; COMMIT",
            "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
            "WITH deleted AS MATERIALIZED (SELECT 1) SELECT * FROM deleted",
            "SELECT $tag$ ; DROP TABLE x; $tag$, $$ DELETE FROM x $$",
            "SELECT 1 /* ; DROP TABLE x; /* nested */ ; DELETE FROM x */",
            "SELECT EXTRACT(year FROM created), date_trunc('day', now()), coalesce(a, b)::numeric(10,2) FROM t",
            "SELECT a FROM t, LATERAL unnest(b) AS u(x), generate_series(1, 3) g(i)",
            "TABLE t",
            "VALUES (1), (2)",
            "SHOW search_path",
            "EXPLAIN DELETE FROM t",
            "EXPLAIN (FORMAT json, ANALYZE off) UPDATE t SET a = 1",
            "EXPLAIN ANALYZE SELECT 1",
            "COPY t TO STDOUT",
            "COPY (SELECT * FROM t) TO STDOUT WITH CSV",
            "DECLARE c CURSOR FOR SELECT 1",
            "SELECT pg_catalog.pg_get_userbyid(c.relowner), pg_total_relation_size(c.oid) FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(a)$' COLLATE pg_catalog.default",
            "SELECT rank() OVER (PARTITION BY a ORDER BY b), count(*) FILTER (WHERE c) FROM t",
            "SELECT * FROM t WHERE a IS DISTINCT FROM b AND (c, d) IN (SELECT 1, 2)",
            "SELECT 1 AS \"; DROP TABLE orders; --\"",
            "SELECT $1::text, ($2)",
        ],
    );
}

#[test]
fn postgres_writes() {
    written(
        Dialect::PostgreSql,
        &[
            "INSERT INTO t (a, b) VALUES (1, 'DELETE FROM x') ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING *",
            "UPDATE t SET a = 1 WHERE id = $1",
            "UPDATE t SET a = 1 WHERE b = c AND d IS NOT NULL",
            "UPDATE t SET seen = true WHERE expires_at < now()",
            "UPDATE t SET a = 1 FROM s WHERE t.id = s.id",
            "WITH s AS (SELECT 1) UPDATE t SET a = 1 WHERE id IN (SELECT * FROM s)",
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = s.a WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
            "CREATE TABLE t (id int PRIMARY KEY REFERENCES u (id) ON DELETE CASCADE, \"drop\" text)",
            "CREATE TABLE t AS SELECT * FROM u",
            "CREATE INDEX CONCURRENTLY i ON t (lower(a))",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "CREATE OR REPLACE FUNCTION f() RETURNS void AS $$ DELETE FROM t $$ LANGUAGE sql",
            "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC DELETE FROM t; DELETE FROM u; END",
            "CREATE TRIGGER tr AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE EXTENSION IF NOT EXISTS pgcrypto",
            "ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0, ALTER COLUMN b DROP DEFAULT, ALTER c DROP NOT NULL",
            "ALTER TABLE t RENAME COLUMN a TO b",
            "ALTER TABLE t ALTER COLUMN id TYPE bigint",
            "ALTER TABLE t ALTER COLUMN a SET DATA TYPE integer USING a::integer",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE p DETACH PARTITION q",
            "SET search_path TO app, public",
            "SET standard_conforming_strings = on; SET statement_timeout = 0; SET row_security = off",
            "SELECT set_config('search_path', '', false)",
            "SELECT nextval('s'), setval('s', 5)",
            "SELECT pg_terminate_backend(1)",
            "SELECT app.refresh_prices(1)",
            "SELECT a INTO u FROM t",
            "SELECT * FROM t FOR UPDATE SKIP LOCKED",
            "COMMIT PREPARED 'x'",
            "PREPARE TRANSACTION 'x'",
            "VACUUM (ANALYZE) t",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO app",
            "COPY t FROM STDIN",
            "PREPARE p AS DELETE FROM t",
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1) THEN CREATE TYPE c AS ENUM ('a'); END IF; END $$",
            "DO $$ BEGIN CREATE TYPE c AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN null; END $$",
            "COMMENT ON TABLE t IS 'DROP TABLE t'",
            "LISTEN a",
            "NOTIFY a, 'DELETE'",
            "REINDEX TABLE t",
        ],
    );
}

#[test]
fn postgres_losses() {
    held(
        Dialect::PostgreSql,
        &[
            "DELETE FROM t WHERE id = 1",
            "delete/**/from\tt",
            "TRUNCATE t, u RESTART IDENTITY CASCADE",
            "DROP TABLE IF EXISTS a.b CASCADE",
            "DROP OWNED BY app",
            "--x\rDROP TABLE t",
            "SELECT 1; DROP TABLE t",
            "SELECT 'a\\'; DROP TABLE t; --'",
            "SELECT E'a'\n'\\''; DROP TABLE t --'",
            "SELECT $a$ $b$ $a$; DROP TABLE t; SELECT $b$ $a$ $b$",
            "UPDATE t SET a = 1",
            "UPDATE t SET a = 1 WHERE true",
            "UPDATE t SET a = 1 WHERE 1 = 1 OR b = 2",
            "UPDATE t SET a = 1 WHERE NOT (1 > 2)",
            "UPDATE t SET a = 1 WHERE id = id",
            "UPDATE t SET a = 1 WHERE id > 0 AND id IS NOT NULL",
            "UPDATE t SET a = 1 WHERE a IS NULL OR a IS NOT NULL",
            "UPDATE t SET a = 1 WHERE created_at <= now()",
            "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t)",
            "UPDATE t SET a = 1 WHERE name LIKE '%'",
            "UPDATE t SET a = 1 WHERE coalesce(true, false)",
            "UPDATE t SET a = 1 WHERE (SELECT true)",
            "WITH d AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM d",
            "WITH x AS (SELECT 1), d AS NOT MATERIALIZED (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM d",
            "INSERT INTO u WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
            "SELECT * FROM (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) x",
            "WITH s AS (SELECT 1) DELETE FROM t USING s",
            "EXPLAIN ANALYZE DELETE FROM t",
            "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t",
            "EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM t",
            "EXPLAIN ANALYZE EXECUTE p",
            "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
            "COPY (DELETE FROM t RETURNING *) TO STDOUT",
            "COPY t FROM PROGRAM 'rm'",
            "COPY t TO '/etc/passwd'",
            "ALTER TABLE t DROP a",
            "ALTER TABLE t ADD COLUMN x int, DROP COLUMN IF EXISTS y",
            "ALTER TABLE t DROP CONSTRAINT c",
            "ALTER TABLE t DISABLE TRIGGER ALL",
            "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE t NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE t ALTER COLUMN a TYPE varchar(3)",
            "ALTER TABLE t ALTER COLUMN a TYPE int USING 0",
            "ALTER TABLE t ALTER COLUMN a TYPE text USING NULL",
            "ALTER TYPE t DROP ATTRIBUTE a",
            "ALTER DOMAIN d DROP CONSTRAINT c",
            "ALTER PUBLICATION p DROP TABLE t",
            "ALTER SYSTEM SET archive_mode = off",
            "ALTER SYSTEM SET fsync TO 'off'",
            "ALTER DATABASE d SET session_replication_role = replica",
            "SET session_replication_role = 'replica'",
            "SELECT set_config('session_replication_role', 'repli' || 'ca', false)",
            "DO $$ BEGIN DELETE FROM t; END $$",
            "DO $x$ BEGIN EXECUTE 'DROP TABLE ' || 't'; END $x$",
            "DO $x$ BEGIN EXECUTE format('DROP TABLE %I', n); END $x$",
            "DO $x$ DECLARE r record; BEGIN FOR r IN SELECT * FROM u LOOP EXECUTE r.text; END LOOP; END $x$",
            "DO $x$ BEGIN FOR r IN DELETE FROM t RETURNING * LOOP NULL; END LOOP; END $x$",
            "DO LANGUAGE plpython3u $$ import os $$",
            "PREPARE p AS DELETE FROM t; EXECUTE p",
            "EXECUTE unknown",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN TRUNCATE t; END $$; SELECT f()",
            "CALL clear_everything()",
            "SELECT wipe_orders()",
            "SELECT lo_unlink(1)",
            "SELECT pg_drop_replication_slot('a')",
            "SELECT query_to_xml('DELETE FROM t', true, false, '')",
            "SELECT dblink_exec('host=b', 'DELETE FROM t')",
            "SELECT * FROM dblink('host=b', 'DELETE FROM t RETURNING id') AS x(id int)",
            "SELECT cron.schedule('nightly', '0 0 * * *', 'TRUNCATE t')",
            "CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM u",
            "LOAD 'evil'",
            "WITH RECURSIVE x(n) AS (WITH s AS (SELECT 1) DELETE FROM t RETURNING f) SELECT * FROM x",
            "SELECT DISTINCT ON (a) drop_all(a) FROM t",
            "garble the server",
            "SELECT (1; DROP TABLE t",
        ],
    );
}

#[test]
fn mysql() {
    read(
        Dialect::MySql,
        &[
            "SELECT 1 --DROP TABLE t",
            "SELECT 1 # ; DROP TABLE t",
            "SELECT 'it\\'s; DROP TABLE t'",
            "SELECT \"; DROP TABLE t\", `drop` FROM `delete`",
            "SHOW CREATE TABLE t",
            "EXPLAIN DELETE FROM t",
            "SELECT @@version, @a, COALESCE(a, 1), JSON_EXTRACT(a, '$.b') FROM t",
        ],
    );
    written(
        Dialect::MySql,
        &[
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2",
            "REPLACE INTO t VALUES (1, 2)",
            "INSERT IGNORE INTO t SELECT * FROM u",
            "/*!40101 SET NAMES utf8mb4 */",
            "ALTER TABLE t ADD COLUMN a int, ADD INDEX (a)",
            "ALTER TABLE t MODIFY COLUMN a VARCHAR(255) NOT NULL",
            "DROP TEMPORARY TABLE t",
            "SET autocommit = 0",
            "UPDATE t JOIN u ON t.id = u.id SET t.a = 1 WHERE u.b = 2",
            "CREATE PROCEDURE p() BEGIN DELETE FROM t; END",
            "CREATE PROCEDURE p() BEGIN IF a THEN DELETE FROM t; END IF; CASE a WHEN 1 THEN DELETE FROM u; END CASE; END; SELECT 1",
            "LOCK TABLES t WRITE",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
            "FLUSH TABLES",
            "KILL 5",
        ],
    );
    held(
        Dialect::MySql,
        &[
            "/*!50000 DROP */ TABLE t",
            "/*! DELETE FROM t */",
            "UPDATE t SET a = 1 /*!99999 WHERE id = 1 */",
            "/*M!100100 DROP TABLE t */",
            "SELECT 1 /* /* */ ; DROP TABLE t; -- */",
            "SELECT 1--\nDROP TABLE t; DROP TABLE u",
            "SELECT \"a\\\"; DROP TABLE t; -- \"; DROP TABLE u; -- \"",
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; DROP TABLE t; -- '",
            "DELETE a FROM t a JOIN u ON a.id = u.id",
            "REPLACE INTO t SELECT * FROM u",
            "TRUNCATE t",
            "CREATE OR REPLACE TABLE t (a int)",
            "ALTER TABLE t DROP PARTITION p0",
            "ALTER TABLE t DISCARD TABLESPACE",
            "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u",
            "PURGE BINARY LOGS BEFORE NOW()",
            "RESET MASTER",
            "SET GLOBAL general_log = OFF",
            "SET @@session.foreign_key_checks = 0",
            "SELECT /*+ SET_VAR(foreign_key_checks = OFF) */ 1",
            "SET @q = 'DELETE FROM t'; PREPARE s FROM @q; EXECUTE s",
            "PREPARE s FROM 'DROP TABLE t'; EXECUTE s",
            "EXECUTE IMMEDIATE CONCAT('DR', 'OP TABLE t')",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
            "CREATE PROCEDURE p() BEGIN SELECT 1; END; DROP TABLE t",
            "CALL p()",
            "UPDATE t SET a = 1 LIMIT 10",
            "SHUTDOWN",
            "ANALYZE FORMAT=JSON DELETE FROM t",
        ],
    );
}

#[test]
fn others() {
    held(
        Dialect::MsSql,
        &[
            "SELECT 1 DROP TABLE t",
            "IF 1 = 1 BEGIN DELETE FROM t END",
            "EXEC('DROP TABLE t')",
            "EXEC sp_executesql N'DELETE FROM t'",
            "EXEC xp_cmdshell 'dir'",
            "DECLARE @s nvarchar(9) = 'x' EXEC(@s)",
            "ALTER DATABASE d SET RECOVERY SIMPLE",
            "BACKUP LOG d TO DISK = 'NUL'",
            "RESTORE DATABASE d FROM DISK = 'x' WITH REPLACE",
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t NOCHECK CONSTRAINT ALL",
            "SELECT * FROM OPENQUERY(s, 'DELETE FROM t')",
            "TRUNCATE TABLE [a].[b]",
            "DISABLE TRIGGER tr ON t",
        ],
    );
    written(
        Dialect::MsSql,
        &[
            "INSERT INTO t (a) VALUES (1)",
            "CREATE PROCEDURE p AS BEGIN DELETE FROM t; DELETE FROM u END",
            "UPDATE t SET a = 1 WHERE id = 2",
            "GRANT DELETE ON t TO u",
            "ALTER TABLE t ADD a int",
            "BACKUP DATABASE d TO DISK = 'd.bak'",
            "DROP TABLE #t",
        ],
    );
    read(Dialect::MsSql, &["SELECT TOP (5) [drop] FROM [delete] WITH (NOLOCK)", "EXEC sp_help 't'", "SELECT N'DROP TABLE t'"]);
    held(
        Dialect::Oracle,
        &[
            "DROP TABLE t PURGE",
            "BEGIN EXECUTE IMMEDIATE 'DROP USER a'; END;",
            "SELECT q'[it's]' FROM dual; DROP TABLE t",
            "PURGE RECYCLEBIN",
            "NOAUDIT ALL",
            "ALTER TABLE t SET UNUSED (a)",
            "FLASHBACK TABLE t TO SCN 1",
        ],
    );
    read(Dialect::Oracle, &["SELECT q'[; DROP TABLE t; ]' FROM dual", "SELECT SYSDATE, NVL(a, 0) FROM t"]);
    held(
        Dialect::ClickHouse,
        &[
            "ALTER TABLE t DELETE WHERE 1",
            "ALTER TABLE t UPDATE a = 1 WHERE 1",
            "ALTER TABLE t MODIFY TTL d + INTERVAL 1 DAY",
            "ALTER TABLE t DROP PARTITION 1",
            "SYSTEM DROP REPLICA 'r'",
            "TRUNCATE DATABASE d",
            "SELECT * FROM executable('rm', 'CSV', 'a int')",
        ],
    );
    written(
        Dialect::ClickHouse,
        &["OPTIMIZE TABLE t FINAL", "SYSTEM DROP DNS CACHE", "ALTER TABLE t UPDATE a = 1 WHERE id = 5", "INSERT INTO t FORMAT JSONEachRow", "DETACH TABLE t"],
    );
    held(
        Dialect::Snowflake,
        &[
            "ALTER TABLE t SET DATA_RETENTION_TIME_IN_DAYS = 0",
            "CREATE OR REPLACE TABLE t (a int)",
            "INSERT OVERWRITE INTO t SELECT 1",
            "EXECUTE IMMEDIATE $$ DROP TABLE t $$",
            "REMOVE @stage",
            "COPY INTO t FROM @s PURGE = TRUE",
            "SELECT 1 // x\n; DROP TABLE t",
        ],
    );
    written(Dialect::Snowflake, &["COPY INTO t FROM @s", "UNDROP TABLE t", "ALTER WAREHOUSE w SUSPEND", "CREATE STAGE s"]);
    held(
        Dialect::BigQuery,
        &[
            "DELETE d.t WHERE true",
            "EXECUTE IMMEDIATE 'DROP TABLE d.t'",
            "ALTER TABLE t SET OPTIONS (expiration_timestamp = TIMESTAMP '2020-01-01')",
            "SELECT \"\"\"a\" \"\"\"; DROP TABLE t",
            "EXPORT DATA OPTIONS (uri = 'gs://b/*', overwrite = true) AS SELECT 1",
        ],
    );
    read(Dialect::BigQuery, &["SELECT r'\\'; DROP TABLE t'", "SELECT '''; DROP TABLE t''' # x", "SELECT SAFE.PARSE_DATE('%F', a) FROM `p.d.t`"]);
    held(
        Dialect::Sqlite,
        &[
            "PRAGMA journal_mode = OFF",
            "PRAGMA writable_schema=ON",
            "REPLACE INTO t SELECT * FROM u",
            "DROP TABLE [t]",
            "SELECT writefile('x', 'y')",
            "SELECT load_extension('x')",
        ],
    );
    read(Dialect::Sqlite, &["PRAGMA table_info", "SELECT [drop table] FROM t", "SELECT 1 /* open"]);
    written(Dialect::Sqlite, &["PRAGMA user_version = 5", "ATTACH 'x' AS y", "VACUUM INTO 'copy'", "INSERT OR REPLACE INTO t VALUES (1)"]);
    held(
        Dialect::Other,
        &[
            "MATCH (n) DETACH DELETE n",
            "BEGIN BATCH DELETE FROM t WHERE a = 1; APPLY BATCH",
            "FROM a INSERT OVERWRITE TABLE b SELECT *",
            "SELECT 'a\\'; DROP TABLE t; --'",
            "VACUUM t RETAIN 0 HOURS",
            "DROP KEYSPACE k",
        ],
    );
    // Whose statement it is is not told: ClickHouse would delete.
    held(Dialect::Other, &["ALTER TABLE events DELETE WHERE 1", "ALTER TABLE e DELETE IN PARTITION p WHERE 1", "ALTER TABLE e UPDATE a = 1 WHERE 1"]);
    written(Dialect::Other, &["ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (a) ON DELETE CASCADE ON UPDATE NO ACTION"]);
    written(Dialect::Other, &["CREATE EXTERNAL TABLE t (a int) LOCATION 's3://b'", "ANALYZE TABLE t COMPUTE STATISTICS"]);
}

#[test]
fn a_resource_has_its_lineage() {
    let mut said = Said::new();
    (said.database, said.user) = (Some("shop".to_owned()), Some("me".to_owned()));
    let found = understand(Dialect::PostgreSql, b"DROP TABLE Users, app.\"Order\"", &said);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].action.as_str(), "postgres.drop");
    assert_eq!(found[0].resource.id.as_str(), "postgres:table/users");
    assert_eq!(format!("{:?}", found[0].resource.lineage).matches("postgres:database/shop").count(), 2, "me and public");
    assert!(format!("{:?}", found[0].resource.lineage).contains("postgres:table/public.users"));
    assert_eq!(found[1].resource.id.as_str(), "postgres:table/app.Order");
    assert!(format!("{:?}", found[1].resource.lineage).contains("postgres:schema/app"));
    said.observe(Dialect::PostgreSql, b"SET search_path TO sales");
    let found = understand(Dialect::PostgreSql, b"TRUNCATE orders", &said);
    assert!(format!("{:?}", found[0].resource.lineage).contains("postgres:table/sales.orders"));
    let found = understand(Dialect::MySql, b"DELETE o FROM shop.orders AS o WHERE 1", &Said::new());
    assert_eq!((found[0].action.as_str(), found[0].resource.id.as_str()), ("mysql.delete", "mysql:table/shop.orders"));
}

#[test]
fn what_was_said_counts() {
    let mut said = Said::new();
    said.observe(Dialect::PostgreSql, b"PREPARE a AS DELETE FROM t; PREPARE b AS SELECT 1");
    let effect = |text: &str, said: &Said| understand(Dialect::PostgreSql, text.as_bytes(), said).into_iter().map(|operation| operation.effect).max().unwrap();
    assert_eq!(effect("EXECUTE a", &said), Effect::Destroy);
    assert_eq!(effect("EXECUTE b", &said), Effect::Read);
    said.observe(Dialect::PostgreSql, b"DEALLOCATE ALL");
    assert_eq!(effect("EXECUTE b", &said), Effect::Opaque);
    assert_eq!(effect("SELECT 'a\\'; DROP TABLE t; --'", &said), Effect::Destroy);
    said.observe(Dialect::PostgreSql, b"SET standard_conforming_strings TO off");
    assert_eq!(effect("SELECT 'a\\'; DROP TABLE t; --'", &said), Effect::Read);
    said.observe(Dialect::PostgreSql, b"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(effect("SELECT f()", &said), Effect::Read);
    said.set("client_encoding", "SJIS");
    assert_eq!(effect("SELECT '\u{8868}'", &said), Effect::Opaque);
}

#[test]
fn bytes_of_the_wire() {
    let of = |engine, dialect, wire: &[u8], context| {
        of_row(&Row { engine, dialect, text: "", wire: Some(wire), context }).into_iter().map(|operation| operation.effect).max().unwrap()
    };
    assert_eq!(of("sql", "postgresql", b"Q\0\0\0\rSELECT 1\0Q\0\0\0\x0fDROP TABLE t\0", None), Effect::Opaque, "a wrong length");
    assert_eq!(of("sql", "postgresql", b"Q\0\0\0\rSELECT 1\0Q\0\0\0\x11DROP TABLE t\0", None), Effect::Destroy);
    assert_eq!(of("sql", "postgresql", b"P\0\0\0\x14s\0DROP TABLE t\0\0\0", None), Effect::Opaque, "a wrong length");
    assert_eq!(of("sql", "postgresql", b"P\0\0\0\x15s\0DROP TABLE t\0\0\0", None), Effect::Write);
    assert_eq!(of("sql", "postgresql", b"P\0\0\0\x14\0DROP TABLE t\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0", None), Effect::Destroy);
    assert_eq!(of("sql", "mysql", b"\x0d\0\0\0\x03DROP TABLE t", None), Effect::Destroy);
    assert_eq!(of("sql", "mysql", b"\x05\0\0\0\x17\x07\0\0\0", Some("statement 7 was prepared as \"SELECT 1\"")), Effect::Read);
    assert_eq!(of("sql", "mysql", b"\x05\0\0\0\x17\x07\0\0\0", None), Effect::Opaque);
    assert_eq!(of("redis", "redis", b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n", None), Effect::Destroy);
    assert_eq!(of("redis", "redis", b"*2\r\n$3\r\nGET\r\n$8\r\nFLUSHALL\r\n", None), Effect::Read);
    assert_eq!(of("redis", "redis", b"*2\r\n$3\r\nGET\r\n$9\r\nFLUSHALL\r\n", None), Effect::Opaque);
    assert_eq!(of("mongodb", "mongodb", b"\x10\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0", None), Effect::Opaque);
}

#[test]
fn bombs_are_told_in_time() {
    let deep = "(".repeat(40_000) + "1" + &")".repeat(40_000);
    for text in [
        format!("SELECT {deep}"),
        format!("UPDATE t SET a = 1 WHERE {deep}"),
        "(DELETE FROM t WHERE ".repeat(10_000),
        format!("SELECT {}", "(INSERT INTO t ".repeat(20_000) + &")".repeat(20_000)),
        "SELECT f(".repeat(20_000) + &")".repeat(20_000),
        "/*".repeat(100_000),
        "/*!50001 ".repeat(20_000),
        format!("SELECT {}", "NOT ".repeat(100_000)),
        format!("SELECT '{}'", "''".repeat(100_000)),
        "DO $$ BEGIN ".repeat(2000),
        format!("DO $a$ BEGIN {} END $a$", "IN SELECT ".repeat(20_000)),
        "EXPLAIN ANALYZE ".repeat(40_000),
        "$a".repeat(100_000),
        format!("DROP TABLE {}", "a, ".repeat(40_000)),
        "SET a = 1; ".repeat(20_000),
        format!("UPDATE t SET a = 1 WHERE {}", "- ".repeat(1000) + "1"),
        "WITH a AS ".repeat(20_000),
        "CREATE PROCEDURE p() BEGIN ".repeat(20_000) + ";",
        "CREATE PROCEDURE p() BEGIN ; ".repeat(5_000),
    ] {
        for dialect in [Dialect::PostgreSql, Dialect::MySql, Dialect::MsSql, Dialect::Other] {
            assert!(!understand(dialect, text.as_bytes(), &Said::new()).is_empty());
        }
    }
}

fn dialect() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(DIALECTS.to_vec())
}

/// Pieces of statements, so that what is put together comes near to what means something.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "SELECT",
        "DELETE",
        "FROM",
        "t",
        "WHERE",
        "1=1",
        "UPDATE",
        "SET",
        "a",
        "=",
        "'x'",
        "\"y\"",
        "(",
        ")",
        ";",
        ",",
        "/*",
        "*/",
        "--",
        "\n",
        "DROP",
        "TABLE",
        "$$",
        "$a$",
        "'",
        "\"",
        "`",
        "[",
        "]",
        "E'",
        "\\",
        "/*!50000",
        "WITH",
        "AS",
        "INSERT",
        "INTO",
        "VALUES",
        "EXPLAIN",
        "ANALYZE",
        "DO",
        "BEGIN",
        "END",
        "EXECUTE",
        "PREPARE",
        "p",
        "ALTER",
        "TYPE",
        "CREATE",
        "FUNCTION",
        "f",
        "CALL",
        "COPY",
        "MERGE",
        "THEN",
        "#",
        "q'[",
        "\u{e9}",
        "1",
        ".5",
        "0x",
        ":a",
        "@b",
        "::",
        "IN",
        "LIKE",
        "NOT",
        "OR",
        "AND",
        "CASE",
        "{",
        "}",
        "set_config",
        "dblink",
    ];
    prop_oneof![8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"]
}

/// Pieces that end what they begin.
fn whole() -> impl Strategy<Value = String> {
    let pieces = [
        "SELECT",
        "DELETE",
        "FROM",
        "t",
        "WHERE",
        "1=1",
        "UPDATE",
        "SET",
        "a",
        "=",
        "'x'",
        "\"y\"",
        "(1)",
        "(DELETE FROM u)",
        ",",
        "/* b */",
        "-- c\n",
        "DROP",
        "TABLE",
        "$$ d $$",
        "E'e'",
        "WITH",
        "AS",
        "INSERT",
        "INTO",
        "VALUES",
        "EXPLAIN",
        "ANALYZE",
        "DO",
        "BEGIN",
        "END",
        "EXECUTE",
        "p",
        "ALTER",
        "TYPE",
        "CALL",
        "f(2)",
        "COPY",
        "MERGE",
        "THEN",
        "GRANT",
        "VACUUM",
        "COMMIT",
        "TRUNCATE",
        "[z]",
        "IF",
        "CASE",
        "FUNCTION",
        "'DROP TABLE v'",
        "IMMEDIATE",
        "SHOW",
        "PRAGMA",
        "foreign_keys",
        "OFF",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 1..10).prop_map(|pieces| pieces.join(" "))
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn nothing_panics(dialect in dialect(), text in text(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut said = Said::new();
        said.observe(dialect, text.as_bytes());
        prop_assert!(!understand(dialect, text.as_bytes(), &said).is_empty());
        prop_assert!(!understand(dialect, &bytes, &said).is_empty());
        for (engine, name) in [("sql", "postgresql"), ("sql", "mysql"), ("redis", "redis"), ("mongodb", "mongodb")] {
            let found = of_row(&Row { engine, dialect: name, text: &text, wire: Some(&bytes), context: Some(&text) });
            prop_assert!(!found.is_empty());
            let found = of_row(&Row { engine, dialect: name, text: &text, wire: None, context: None });
            prop_assert!(!found.is_empty());
        }
    }

    /// Two statements together are at least as bad as the worse one alone, where both can be read alone.
    #[test]
    fn together_is_never_looser(dialect in dialect(), first in whole(), second in whole()) {
        let effect = |text: &str| understand(dialect, text.as_bytes(), &Said::new()).into_iter().map(|operation| operation.effect).max().unwrap();
        let together = effect(&format!("{first}\n;{second}"));
        prop_assert!(together >= effect(&second) || effect(&second) == Effect::Opaque && together == Effect::Destroy, "{together:?}: {first} ; {second}");
    }

    /// A statement that destroys is not hidden by blanks, comments and letters of another case.
    #[test]
    fn disguises_do_not_help(dialect in dialect(), blanks in proptest::collection::vec(proptest::sample::select(vec![" ", "\n", "\t", "/* x */", "-- x\n", "/**/"]), 3), upper in any::<bool>()) {
        let text = format!("drop{0}{1}table{2}t", blanks[0], blanks[1], blanks[2]);
        let text = if upper { text.to_ascii_uppercase() } else { text };
        prop_assert!(worst(dialect, &text).effect >= Effect::Destroy);
    }
}
