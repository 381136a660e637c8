//! Which server's rules a text is read by.

/// A family of SQL servers that read text alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// PostgreSQL and what speaks its protocol (Redshift, CockroachDB, Greenplum, Materialize).
    PostgreSql,
    /// MySQL and MariaDB (Doris, StarRocks, TiDB).
    MySql,
    /// SQLite.
    Sqlite,
    /// Microsoft SQL Server.
    MsSql,
    /// Oracle Database.
    Oracle,
    /// ClickHouse.
    ClickHouse,
    /// Snowflake.
    Snowflake,
    /// Google BigQuery.
    BigQuery,
    /// Any other: whatever any of the above would take for destroying is destroying.
    Other,
}

impl Dialect {
    /// The word before the colon in the names of its resources, and before the dot in those of its actions.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "postgres",
            Dialect::MySql => "mysql",
            Dialect::Sqlite => "sqlite",
            Dialect::MsSql => "mssql",
            Dialect::Oracle => "oracle",
            Dialect::ClickHouse => "clickhouse",
            Dialect::Snowflake => "snowflake",
            Dialect::BigQuery => "bigquery",
            Dialect::Other => "sql",
        }
    }

    /// The dialect that people call so, in lower case; [`Dialect::Other`] for names that are not known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "postgresql" | "postgres" | "redshift" | "cockroachdb" | "greenplum" | "materialize" => Dialect::PostgreSql,
            "mysql" | "mariadb" | "doris" | "starrocks" | "tidb" => Dialect::MySql,
            "sqlite" => Dialect::Sqlite,
            "mssql" | "tsql" => Dialect::MsSql,
            "oracle" => Dialect::Oracle,
            "clickhouse" => Dialect::ClickHouse,
            "snowflake" => Dialect::Snowflake,
            "bigquery" => Dialect::BigQuery,
            _ => Dialect::Other,
        }
    }
}
