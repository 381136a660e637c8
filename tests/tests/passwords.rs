//! Databases that are logged in to with a password that the box does not have: the client shows a placeholder, and the real server sees the real proof.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agentbox_tests::{
    Database, Home, MariaDb, Redis, Who, mariadb,
    process::{Finished, finish},
    redis, skip,
};

/// `agentbox run` of a script, with the secret in the variable from which it is read.
fn run(home: &Home, secret: &str, script: &str) -> Finished {
    let mut command = home.script(&["--unattended", "--exit-code", "agent"], script);
    finish(command.env("DB_PASSWORD", secret)).ended(0)
}

/// The secret is in nothing that was said or written.
fn is_nowhere(home: &Home, finished: &Finished, secret: &str) {
    let (out, err) = (finished.out(), finished.err());
    assert!(!out.contains(secret) && !err.contains(secret), "{out}\n{err}");
    let log = home.outside(&["log", "--json"]).ended(0).out();
    assert!(!log.contains(secret), "{log}");
    home.outside(&["log", "--verify"]).ended(0);
}

const PYTHON_REDIS: &str = r#"
import os, redis
for number in range(2):
    db = redis.Redis(host="db.example", username="agent", password=os.environ["DB_PASSWORD"], client_name="job", decode_responses=True)
    print("driver", db.acl_whoami(), db.incr("n"), db.client_getname(), db.get("leaked") == os.environ["DB_PASSWORD"])
    with db.pipeline(transaction=False) as pipe:
        print(pipe.set("a", "b").get("a").execute())
"#;

#[test]
fn redis_sees_the_password_and_the_box_does_not() {
    let Some(server) = Redis::start() else { return };
    if !skip::python_has("redis") {
        return;
    }
    server.cli(&["SET", "leaked", redis::PASSWORD]).ended(0);
    for who in Who::each() {
        let policy = server.policy(
            "[credential.db]\nsource = \"env:DB_PASSWORD\"\nfor = [\"db.example\", \"tls.example\"]\nallow = [\"read\", \"redis.client\", \"redis.incr*\", \"redis.set\"]",
        );
        let home = Home::of(who, &policy);
        home.write("work/job.py", PYTHON_REDIS);
        server.cli(&["DEL", "n"]).ended(0);
        let text = "export REDISCLI_AUTH=\"$DB_PASSWORD\"; \
            for host in '-h db.example' '-h tls.example --tls' '-h db.example -3'; do redis-cli $host --user agent ACL WHOAMI; done; \
            redis-cli -h db.example --user agent GET leaked; echo \"is $DB_PASSWORD\"; \
            redis-cli -h db.example --user agent LPUSH list x; \
            redis-cli -h db.example --user nobody PING 2>&1; \
            printf 'ECHO early\\nAUTH agent %s\\n' \"$DB_PASSWORD\" | env -u REDISCLI_AUTH redis-cli -h db.example; \
            /usr/bin/python3 job.py";
        let finished = run(&home, redis::PASSWORD, text);
        let out = finished.out();
        assert!(out.starts_with("agent\nagent\nagent\n"), "{out}\n{}", finished.err());
        let placeholder = out.lines().find_map(|line| line.strip_prefix("is ")).expect("a placeholder");
        assert!(placeholder.len() == redis::PASSWORD.len() && out.contains(&format!("{placeholder}\nis ")), "what the server repeats is taken out: {out}");
        assert!(out.contains("AGENTBOX") && out.contains("redis.lpush"), "it is not for this: {out}");
        assert!(out.contains("WRONGPASS"), "the server's own no is the client's: {out}");
        assert!(out.contains("early\n") && out.contains("at the beginning of a connection only"), "{out}");
        for count in [1, 2] {
            assert!(out.contains(&format!("driver agent {count} job True\n[True, 'b']\n")), "{out}\n{}", finished.err());
        }
        is_nowhere(&home, &finished, redis::PASSWORD);
        assert_eq!(server.tells(&["EXISTS", "list"]), "0");
        // Where nobody is let in without it, whoever logs in late logs in too; and the server does not tell it.
        server.cli(&["CONFIG", "SET", "requirepass", redis::PASSWORD]).ended(0);
        let text = "printf 'PING\\nAUTH %s\\nACL WHOAMI\\nCONFIG GET requirepass\\n' \"$DB_PASSWORD\" | redis-cli -h db.example; echo \"is $DB_PASSWORD\"";
        let finished = run(&home, redis::PASSWORD, text);
        server.cli(&["-a", redis::PASSWORD, "CONFIG", "SET", "requirepass", ""]).ended(0);
        let out = finished.out();
        let placeholder = out.lines().find_map(|line| line.strip_prefix("is ")).expect("a placeholder");
        assert!(out.starts_with("NOAUTH") && out.contains(&format!("OK\ndefault\nrequirepass\n{placeholder}\n")), "{out}");
        is_nowhere(&home, &finished, redis::PASSWORD);
    }
}

#[test]
fn a_placeholder_of_another_host_logs_in_nowhere() {
    let Some(server) = Redis::start() else { return };
    let home = Home::new(&server.policy("[credential.db]\nsource = \"env:DB_PASSWORD\"\nfor = [\"elsewhere.example\"]"));
    let finished = run(&home, redis::PASSWORD, "REDISCLI_AUTH=\"$DB_PASSWORD\" redis-cli -h db.example --user agent ACL WHOAMI 2>&1; $AGENTBOX why");
    let out = finished.out();
    assert!(out.contains("it is not for this host") && !out.contains("\nagent\n"), "{out}");
    is_nowhere(&home, &finished, redis::PASSWORD);
}

#[test]
fn mariadb_sees_the_proof_and_the_box_has_no_password() {
    let Some(server) = MariaDb::start() else { return };
    server.owner("USE shop; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT seq FROM seq_1_to_100").ended(0);
    let driver = skip::python_has("pymysql");
    for who in Who::each() {
        let policy = server.policy("[credential.db]\nsource = \"env:DB_PASSWORD\"\nfor = [\"db.example\"]\nallow = [\"read\", \"mysql.set\"]");
        let home = Home::of(who, &policy);
        home.write(
            "work/job.py",
            "import os, pymysql\ndb = pymysql.connect(host='db.example', user='agent', password=os.environ['DB_PASSWORD'], database='shop')\n\
             with db.cursor() as cursor:\n    cursor.execute('SELECT COUNT(*) FROM t')\n    print('driver', cursor.fetchone())\n",
        );
        let text = "export MYSQL_PWD=\"$DB_PASSWORD\"; M='mariadb --no-defaults -h db.example -u agent -N -B shop'; \
            for mode in --skip-ssl --ssl '--ssl --ssl-verify-server-cert --ssl-ca='$SSL_CERT_FILE; do \
              $M $mode -e 'SELECT COUNT(*) FROM t; SELECT CURRENT_USER(); SELECT DATABASE()'; done; \
            $M -e 'UPDATE t SET id = id + 1000 WHERE id = 1' 2>&1; $M -u nobody -e 'SELECT 1' 2>&1; $M -u modern -e 'SELECT 1' 2>&1; \
            MYSQL_PWD=other $M -e 'SELECT 1' 2>&1; /usr/bin/python3 job.py; echo \"is $DB_PASSWORD\"";
        let finished = run(&home, mariadb::PASSWORD, text);
        let out = finished.out();
        assert!(out.starts_with(&"100\nagent@%\nshop\n".repeat(3)), "{out}\n{}", finished.err());
        assert!(out.contains("mysql.update") && out.contains("ERROR 1045"), "{out}");
        assert!(out.contains("client_ed25519, which is not spoken here"), "{out}");
        assert!(!driver || out.contains("driver (100,)"), "{out}\n{}", finished.err());
        is_nowhere(&home, &finished, mariadb::PASSWORD);
        assert_eq!(server.tells("SELECT MAX(id) FROM shop.t"), "100");
    }
}

#[test]
fn postgresql_sees_the_certificate_and_the_box_has_no_key() {
    let Some(server) = Database::start() else { return };
    let (certificate, key) = server.certificate_of("agent");
    for who in Who::each() {
        let policy = server.policy(
            "[credential.db]\nsource = \"file:~/.postgresql/both.pem\"\nfor = [\"db.example\"]\nallow = [\"read\"]\n\
             files = [\"~/.postgresql/postgresql.crt\", \"~/.postgresql/postgresql.key\"]",
        );
        let home = Home::of(who, &policy);
        home.write("home/.postgresql/both.pem", &format!("{certificate}{key}"));
        home.write("home/.postgresql/postgresql.crt", &certificate);
        home.write("home/.postgresql/postgresql.key", &key);
        let text = "cp ~/.postgresql/postgresql.key key.pem; chmod 600 key.pem; export PGHOST=db.example PGUSER=agent PGDATABASE=certs PGSSLKEY=key.pem \
            PGSSLMODE=verify-full PGSSLROOTCERT=$SSL_CERT_FILE; P='psql -w -X -A -t -c'; \
            $P \"SELECT current_user, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()\"; $P 'CREATE TABLE t (id int)' 2>&1; \
            PGUSER=owner $P 'SELECT 1' 2>&1; PGSSLCERT=/nonexistent $P 'SELECT 2' 2>&1; \
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=agent -keyout own.key -out own.crt 2>&1 >made; \
            PGSSLCERT=own.crt PGSSLKEY=own.key $P 'SELECT 3' 2>&1; cat ~/.postgresql/*";
        let finished = run(&home, "unused", text);
        let out = finished.out();
        assert!(out.starts_with("agent|/CN=agent\n"), "{out}\n{}", finished.err());
        assert!(out.contains("postgres.create"), "it is for reading: {out}");
        assert!(out.contains("certificate authentication failed for user \"owner\""), "the server's own no is the client's: {out}");
        for number in ["\n2\n", "\n3\n"] {
            assert!(!out.contains(number), "nobody else is let in: {out}");
        }
        assert_eq!(server.tells("certs", "SELECT count(*) FROM pg_tables WHERE tablename = 't'"), "0");
        is_nowhere(&home, &finished, key.lines().nth(1).expect("a line of the key"));
    }
}
