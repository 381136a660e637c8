//! What developers do all day, in a box: databases, watchers, debuggers, builds, native modules, a browser.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use agentbox_tests::{Home, Who, database, process::finish, skip};

/// Runs it as root and as an ordinary user, and looks at what it printed.
fn everyone_gets(programs: &[&str], files: &[(&str, &str)], script: &str, wanted: &str) {
    if !skip::have(programs) {
        return;
    }
    for who in Who::each() {
        let home = Home::of(who, "extends = \"default\"\n");
        for (name, content) in files {
            home.write(&format!("work/{name}"), content);
        }
        let finished = home.run(script).ended(0);
        assert_eq!(finished.out(), wanted, "{who:?}\n{}", finished.err());
    }
}

#[test]
fn sqlite_in_wal_mode_with_four_writers() {
    let script = r#"
import sqlite3, subprocess, sys
base = sqlite3.connect("a.db")
print(base.execute("PRAGMA journal_mode=wal").fetchone()[0])
base.execute("CREATE TABLE t (x)")
base.commit()
writer = "import sqlite3\nbase = sqlite3.connect('a.db', timeout=60)\nfor i in range(50):\n    base.execute('INSERT INTO t VALUES (?)', (i,))\n    base.commit()"
print([one.wait() for one in [subprocess.Popen([sys.executable, "-c", writer]) for _ in range(4)]])
print(base.execute("SELECT count(*) FROM t").fetchone()[0], base.execute("PRAGMA wal_checkpoint(truncate)").fetchone(), base.execute("PRAGMA integrity_check").fetchone()[0])
"#;
    everyone_gets(&["python3"], &[("wal.py", script)], "python3 wal.py", "wal\n[0, 0, 0, 0]\n200 (0, 0, 0) ok\n");
}

#[test]
fn a_home_in_memory_is_as_any_other() {
    for who in Who::each() {
        let home = Home::below(Path::new("/dev/shm"), who, "extends = \"default\"\n");
        home.write("home/.cache/tool/old", "outside\n");
        home.write("work/old", "before\n");
        let script = "cat ~/.cache/tool/old; echo new >~/.cache/tool/old && cat ~/.cache/tool/old; echo x 2>/dev/null >~/closed || echo closed; \
            echo after >old; rm old; echo mine >/dev/shm/mine && ls -A /dev/shm | grep -c .";
        let ended = home.run(script).ended(0);
        assert_eq!(ended.out(), "outside\nnew\nclosed\n2\n", "{who:?}: {}", ended.err());
        assert!(ended.err().contains("bring them back"), "{}", ended.err());
        home.outside(&["undo"]).ended(0);
        let now = |name: &str| std::fs::read_to_string(home.path(name)).expect("a file");
        assert_eq!((now("work/old"), now("home/.cache/tool/old")), ("before\n".to_owned(), "outside\n".to_owned()));
        assert!(!Path::new("/dev/shm/mine").exists());
    }
}

#[test]
fn what_no_box_can_do_is_told() {
    if !skip::have(&["bwrap"]) {
        return;
    }
    let home = Home::new("extends = \"default\"\n");
    let script = "bwrap --ro-bind / / true 2>/dev/null || echo refused; $AGENTBOX why bwrap | grep -o 'box is the sandbox'; $AGENTBOX why sudo | grep -o 'no_new_privs\\|set-user-id'; \
        $AGENTBOX why docker | grep -o 'forward PORT'; $AGENTBOX why | grep -o 'sandbox, sudo, docker, signing, ping'";
    let ended = home.run(script);
    assert_eq!(ended.out(), "refused\nbox is the sandbox\nset-user-id\nforward PORT\nsandbox, sudo, docker, signing, ping\n", "{}", ended.err());
}

#[test]
fn a_watcher_sees_what_others_do() {
    let script = "const fs = require('fs'); fs.mkdirSync('w'); const seen = new Set(); \
        const watcher = fs.watch('w', (kind, name) => { seen.add(name); if (seen.size === 2) { console.log([...seen].sort().join(' ')); watcher.close(); } }); \
        require('child_process').spawn('sh', ['-c', 'echo x >w/made; mv w/made w/moved']);";
    everyone_gets(&["node"], &[("watch.js", script)], "timeout 60 node watch.js", "made moved\n");
}

#[test]
fn its_own_children_can_be_traced_and_debugged() {
    let crash = "static int f(int *at) { return *at; }\nint main(void) { return f(0); }\n";
    let script = "strace -f -e trace=execve -o traced sh -c '/bin/true; /bin/true' && grep -c 'execve(\"/bin/true\"' traced; \
        gcc -g -O0 crash.c -o crash && gdb -batch -ex run -ex bt ./crash 2>/dev/null | grep -o 'f (at=0x0)' | tail -1; \
        sleep 60 & gdb -batch -p $! -ex 'info proc' 2>/dev/null | grep -c 'exe = .*sleep'; kill $!";
    everyone_gets(&["strace", "gdb", "gcc"], &[("crash.c", crash)], script, "2\nf (at=0x0)\n1\n");
}

#[test]
fn make_with_many_jobs_and_a_native_module() {
    let makefile = "all: $(patsubst %.c,%.o,$(wildcard f*.c))\n\tar rc lib.a f*.o\n";
    let script = "for i in $(seq 60); do echo \"int f$i(void) { return $i; }\" >f$i.c; done; make -s -j8 && ar t lib.a | wc -l; make -s -j8 | wc -l";
    everyone_gets(&["make", "gcc"], &[("Makefile", makefile)], script, "60\n0\n");

    if !Path::new("/usr/include/node/node_api.h").exists() {
        return skip::not_here("this node came without its headers, which node-gyp would fetch from its makers' host");
    }
    let module = "#include <node_api.h>\nstatic napi_value init(napi_env env, napi_value exports) { napi_value text; napi_create_string_utf8(env, \"native\", 6, &text); return text; }\nNAPI_MODULE(h, init)\n";
    let files = [
        ("binding.gyp", r#"{"targets": [{"target_name": "h", "sources": ["h.c"]}]}"#),
        ("h.c", module),
        ("package.json", r#"{"name": "h", "version": "1.0.0"}"#),
    ];
    let script = "node $(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js rebuild --nodedir=/usr >built 2>&1 || cat built; node -p 'require(\"./build/Release/h.node\")'";
    everyone_gets(&["node", "npm", "make", "gcc", "g++", "python3"], &files, script, "native\n");
}

#[test]
fn databases_run_in_the_box() {
    let redis = "redis-server --port 7777 --save '' >log 2>&1 & for try in $(seq 200); do redis-cli -p 7777 ping >/dev/null 2>&1 && break; sleep 0.1; done; \
        redis-cli -p 7777 set key value; redis-cli -p 7777 get key; redis-cli -p 7777 flushall; redis-cli -p 7777 shutdown nosave; wait";
    everyone_gets(&["redis-server", "redis-cli"], &[], redis, "OK\nvalue\nOK\n");

    let Some(programs) = database::programs() else { return skip::skip("not installed: postgresql") };
    let programs = programs.display();
    // PostgreSQL's server refuses to be root's.
    let home = Home::of(Who::each().pop().unwrap_or(Who::Me), "extends = \"default\"\n");
    let script = format!(
        "set -e; PATH=$PATH:{programs}; initdb -D data -A trust -U me >log 2>&1; pg_ctl -D data -w -l server.log -o \"-p 5544 -k $PWD\" start >>log; \
         psql -h $PWD -p 5544 -U me -d postgres -Atqc 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS x' -c 'SELECT sum(x) FROM t'; \
         psql -h 127.0.0.1 -p 5544 -U me -d postgres -Atqc 'DROP TABLE t' -c 'SELECT count(*) FROM pg_tables WHERE tablename = $$t$$'; \
         pg_ctl -D data -m fast -w stop >>log; echo over"
    );
    let finished = home.run(&script).ended(0);
    assert_eq!(finished.out(), "500500\n0\nover\n", "{}", finished.err());
}

#[test]
fn a_browser_without_a_window_looks_at_a_page_of_the_box() {
    let page = "<h1 id=x></h1><script>document.getElementById('x').textContent = 'sum ' + (1 + 1)</script>";
    // Chromium refuses to be root's with a sandbox of its own.
    let script = "python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 & for try in $(seq 100); do curl -fs http://127.0.0.1:8123/ >/dev/null && break; sleep 0.1; done; \
        timeout 100 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync \
        --dump-dom http://127.0.0.1:8123/page.html 2>log | grep -o '>sum [0-9]*<' || cat log; kill $!";
    everyone_gets(&["chromium", "python3", "curl"], &[("page.html", page)], script, ">sum 2<\n");
}

#[test]
fn a_browser_has_a_sandbox_of_its_own_where_the_policy_lets_it() {
    if !skip::have(&["chromium"]) {
        return;
    }
    // It refuses to be root's.
    let home = Home::of(Who::each().pop().unwrap_or(Who::Me), "extends = \"default\"\nnested-userns = true\n");
    home.write("work/page.html", "<script>document.write('sum ' + (1 + 1))</script>");
    let script = "timeout 100 chromium --headless --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync \
        --dump-dom file://$PWD/page.html 2>log | grep -o 'sum 2' || cat log";
    let ended = home.run(script).ended(0);
    assert_eq!(ended.out(), "sum 2\n", "{}", ended.err());
}

/// Asks the virtual machine for what limits it.
const LIMITED: &str = "public class Limited { public static void main(String[] a) { \
    var system = (com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean(); \
    System.out.println(system.getTotalMemorySize() > 1 << 20); } }\n";

#[test]
fn a_box_sees_no_groups_but_its_own() {
    if !skip::have(&["java", "javac"]) {
        return;
    }
    let closed = "ls /sys/fs/cgroup | grep -c agentbox-; (mkdir /sys/fs/cgroup/x || echo 1 >/sys/fs/cgroup/cgroup.procs) 2>/dev/null || echo closed";
    everyone_gets(&[], &[], closed, "0\nclosed\n");
    // The same where there is one tree of groups, whichever this machine has.
    if !skip::is_root("mounting another tree of groups") {
        return;
    }
    let home = Home::new("extends = \"default\"\n");
    home.write("work/Limited.java", LIMITED);
    let boxed = home.boxed(&[], &["bash", "-c", &format!("java Limited.java; ls /sys/fs/cgroup | grep -c '^cgroup.procs$'; {closed}")]);
    let line = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let mut command = home.program("unshare");
    command.args(["-m", "bash", "-c", line, "-"]).arg(boxed.get_program()).args(boxed.get_args());
    let ended = finish(&mut command).ended(0);
    assert_eq!(ended.out(), "true\n1\n0\nclosed\n", "{}", ended.err());
}
