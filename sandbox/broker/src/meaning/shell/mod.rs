//! What a command line for a shell does, as far as its programs' names tell: for orders to run something elsewhere.

mod subcommands;

use agentbox_core::{Effect, safe};

use super::sql::{Dialect, Said, understand};

/// Longest line that is read.
const LONGEST: usize = 64 << 10;

/// Most simple commands of a line.
const MOST_COMMANDS: usize = 200;

/// How deep `sh -c "sh -c …"` is followed.
const DEEPEST: usize = 8;

/// Programs that only show, whatever they are given. One that can write a file, run another program or act on the system by some option
/// (`awk`, `sort -o`, `env`, `date -s`, `ip`, `journalctl --vacuum-size`) is not among them.
const READERS: &[&str] = &[
    "[",
    "basename",
    "cat",
    "cd",
    "cksum",
    "cmp",
    "comm",
    "cut",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "false",
    "fgrep",
    "free",
    "getent",
    "grep",
    "groups",
    "head",
    "id",
    "iostat",
    "jq",
    "last",
    "ls",
    "lsblk",
    "lscpu",
    "md5sum",
    "mpstat",
    "nl",
    "nproc",
    "paste",
    "pg_isready",
    "pgrep",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "seq",
    "sha1sum",
    "sha256sum",
    "sleep",
    "stat",
    "strings",
    "tac",
    "tail",
    "test",
    "tr",
    "true",
    "uname",
    "uptime",
    "vmstat",
    "w",
    "wc",
    "which",
    "who",
    "whoami",
    "zcat",
    "git-upload-pack",
    "git-upload-archive",
];

/// Programs that copy a database out; what they read they leave, unless an option says otherwise.
const DUMPERS: &[&str] = &["pg_dump", "pg_dumpall"];

/// Programs that make or change one thing and run no other program.
const WRITERS: &[&str] = &["mkdir", "touch", "scp", "chmod", "chown", "cp", "ln", "mv", "tee"];

/// Programs that destroy whatever they are given.
const DESTROYERS: &[&str] = &[
    "rm",
    "rmdir",
    "shred",
    "dd",
    "wipefs",
    "blkdiscard",
    "mkswap",
    "fdisk",
    "sfdisk",
    "parted",
    "sgdisk",
    "truncate",
    "unlink",
    "dropdb",
    "dropuser",
    "srm",
    "wipe",
    "lvremove",
    "vgremove",
    "pvremove",
    "userdel",
    "deluser",
    "groupdel",
    "cryptsetup",
    "pg_resetwal",
    "zap",
    "reboot-wipe",
    "mkfs",
    "newfs",
    "format",
    "mongorestore",
    "pg_restore",
];

/// Programs in front of another: it counts.
const WRAPPERS: &[&str] = &[
    "sudo", "doas", "env", "nohup", "time", "nice", "ionice", "stdbuf", "timeout", "setsid", "exec", "command", "builtin", "xargs", "watch", "unbuffer",
    "chroot", "then", "do", "else", "if", "while", "!", "{", "(",
];

/// Shells, and how they are told a command line.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ash", "ksh", "fish"];

/// What the line would do; opaque where a program is not known.
#[must_use]
pub(crate) fn judge(line: &str) -> (Effect, String) {
    judged(line, 0)
}

fn judged(line: &str, depth: usize) -> (Effect, String) {
    if line.len() > LONGEST || depth > DEEPEST {
        return (Effect::Opaque, "a command line that is too long or too deep to be read".to_owned());
    }
    let Some(commands) = commands(line) else { return (Effect::Opaque, "a command line that cannot be read in one way".to_owned()) };
    commands.iter().map(|words| command(words, depth)).max_by_key(|(effect, _)| rank(*effect)).unwrap_or((Effect::Read, "an empty command line".to_owned()))
}

/// What is known to destroy is told before what is not known.
fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Read => 0,
        Effect::Write => 1,
        Effect::Opaque => 2,
        Effect::Destroy => 3,
    }
}

/// Splits into simple commands of words; redirections that overwrite are words of their own. `None` where quotes do not end.
fn commands(line: &str) -> Option<Vec<Vec<String>>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        if all.len() > MOST_COMMANDS {
            return None;
        }
        let current = all.last_mut()?;
        match c {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == c => break,
                        '\\' if c == '"' => text.extend(characters.next()),
                        // What a substitution yields is not known, what it runs is a command of its own.
                        other => text.push(other),
                    }
                }
            }
            '#' if word.is_none() => {
                for rest in characters.by_ref() {
                    if rest == '\n' {
                        break;
                    }
                }
            }
            ';' | '\n' | '|' | '&' => {
                if c == '&' && characters.peek() == Some(&'>') {
                    continue;
                }
                current.extend(word.take());
                if !current.is_empty() {
                    all.push(Vec::new());
                }
            }
            '>' => {
                // `2>/dev/null` is a number before it, `>>` appends.
                if word.as_ref().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit())) {
                    word = None;
                }
                current.extend(word.take());
                let appends = characters.peek() == Some(&'>');
                if appends {
                    characters.next();
                }
                if characters.peek() == Some(&'&') {
                    characters.next();
                    characters.next();
                    continue;
                }
                current.push(if appends { ">>" } else { ">" }.to_owned());
            }
            c if c.is_whitespace() => current.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    all.last_mut()?.extend(word);
    all.retain(|words| !words.is_empty());
    Some(all)
}

fn command(words: &[String], depth: usize) -> (Effect, String) {
    let overwrites = words.iter().zip(words.iter().skip(1)).any(|(mark, target)| mark == ">" && target != "/dev/null" && target != "/dev/stderr");
    let (effect, why) = program(words, depth);
    if overwrites && effect < Effect::Destroy { (Effect::Write, format!("{why}, and its output replaces a file")) } else { (effect, why) }
}

fn program(words: &[String], depth: usize) -> (Effect, String) {
    // Options and assignments of wrappers stand before the program.
    const TAKES_VALUE: &[&str] = &["-u", "-g", "-n", "-k", "-s", "-I", "-P", "-L", "-d", "-C", "--user", "--signal"];
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let base = base(word);
        let is_assignment =
            word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let of_wrapper = at > 0 && (word.starts_with('-') || word.bytes().all(|byte| byte.is_ascii_digit() || byte == b's'));
        if !(WRAPPERS.contains(&base) || is_assignment || of_wrapper) {
            break;
        }
        at += if of_wrapper && TAKES_VALUE.contains(&word.as_str()) { 2 } else { 1 };
    }
    let Some(first) = words.get(at) else { return (Effect::Read, "a command line without a program".to_owned()) };
    // PAGER, GIT_SSH_COMMAND, LD_PRELOAD: a variable can make a harmless program run another.
    let is_set = |word: &String| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.starts_with('-'));
    if words.get(..at).is_some_and(|before| before.iter().any(is_set)) {
        let rest = words.get(at..).map(|rest| program(rest, depth + 1)).unwrap_or((Effect::Opaque, String::new()));
        return if rank(rest.0) >= rank(Effect::Opaque) { rest } else { (Effect::Opaque, format!("{}, with variables of its own", rest.1)) };
    }
    let arguments = words.get(at + 1..).unwrap_or_default();
    let name = base(first);
    let runs = |effect, what: &str| (effect, format!("runs {} {what}", safe::line(name, 40)).trim_end().to_owned());
    if words.iter().any(|word| word.contains("$(") || word.contains('`')) {
        let inner = substitutions(words);
        let worst = inner.iter().map(|line| judged(line, depth + 1)).max_by_key(|(effect, _)| rank(*effect));
        if let Some(worst) = worst.filter(|(effect, _)| *effect >= Effect::Destroy || *effect == Effect::Opaque) {
            return worst;
        }
    }
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(&argument.as_str()));
    match name {
        _ if SHELLS.contains(&name) => match arguments.iter().skip_while(|argument| !(argument.starts_with('-') && argument.ends_with('c'))).nth(1) {
            Some(inner) => judged(inner, depth + 1),
            None => runs(Effect::Opaque, "on a script that is not seen"),
        },
        "eval" => judged(&arguments.join(" "), depth + 1),
        _ if DESTROYERS.contains(&name) || name.starts_with("mkfs") || is_losing_cmdlet(name) => runs(Effect::Destroy, "which destroys"),
        "powershell" | "powershell.exe" | "pwsh" | "cmd" | "cmd.exe" => {
            match arguments
                .iter()
                .skip_while(|argument| !matches!(argument.to_ascii_lowercase().as_str(), "-command" | "-c" | "/c" | "/k"))
                .skip(1)
                .collect::<Vec<_>>()
            {
                inner if inner.is_empty() => runs(Effect::Opaque, "on a script that is not seen"),
                inner => judged(&inner.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" "), depth + 1),
            }
        }
        "find" if has(&["-delete"]) => runs(Effect::Destroy, "with -delete"),
        // Each of several is looked at.
        "find" if arguments.iter().any(|argument| runs_program(argument)) => arguments
            .split(|argument| runs_program(argument))
            .skip(1)
            .map(|inner| program(inner, depth + 1))
            .max_by_key(|(effect, _)| rank(*effect))
            .unwrap_or((Effect::Opaque, "runs find on programs that are not seen".to_owned())),
        "find" if arguments.iter().any(|argument| argument.starts_with("-f") && argument.len() > 2 && !matches!(argument.as_str(), "-false" | "-fstype")) => {
            runs(Effect::Write, "into a file")
        }
        "find" => runs(Effect::Read, ""),
        "rsync" if has(&["--sender"]) => runs(Effect::Read, "as the sender"),
        "rsync" if arguments.iter().any(|argument| argument.starts_with("--del") || argument == "--remove-source-files") => {
            runs(Effect::Destroy, "with deletion")
        }
        "rsync" => runs(Effect::Write, ""),
        "git" => git(arguments),
        "redis-cli" | "valkey-cli" => redis(arguments),
        "psql" | "mysql" | "mariadb" | "sqlite3" | "clickhouse-client" | "cockroach" | "sqlcmd" | "mongosh" | "mongo" => sql(name, arguments),
        "kubectl" | "oc" | "docker" | "podman" | "helm" | "terraform" | "tofu" | "aws" | "gcloud" | "az" | "systemctl" => tool(name, arguments),
        "git-receive-pack" => runs(Effect::Opaque, "whose refs are not seen"),
        _ if DUMPERS.contains(&name) && !arguments.iter().any(|argument| argument.starts_with("-f") || argument.starts_with("--file")) => {
            runs(Effect::Read, "")
        }
        _ if READERS.contains(&name) => runs(Effect::Read, ""),
        _ if WRITERS.contains(&name) => runs(Effect::Write, ""),
        "kill" | "pkill" | "killall" => runs(Effect::Write, ""),
        _ => match subcommands::losing(name, arguments) {
            Some(what) => runs(Effect::Destroy, &safe::line(&what, 60)),
            None => runs(Effect::Opaque, "of which nothing is known"),
        },
    }
}

/// Windows: `Remove-Item`, `Clear-Disk`, `Format-Volume`, and the older words for them.
fn is_losing_cmdlet(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_cmdlet = lower.split_once('-').is_some_and(|(verb, noun)| {
        matches!(verb, "remove" | "clear" | "format" | "reset" | "uninstall") && !noun.is_empty() && noun.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    is_cmdlet || matches!(lower.as_str(), "del" | "erase" | "rd" | "ri" | "diskpart" | "vssadmin" | "wbadmin" | "cipher")
}

/// `find`'s ways to run a program.
fn runs_program(argument: &str) -> bool {
    argument.starts_with("-exec") || argument.starts_with("-ok")
}

fn base(word: &str) -> &str {
    word.trim_start_matches('(').rsplit('/').next().unwrap_or(word)
}

/// The command lines within `$(…)` and backticks, roughly: what is inside is judged again.
fn substitutions(words: &[String]) -> Vec<String> {
    let line = words.join(" ");
    let mut found = Vec::new();
    let mut rest = line.as_str();
    while let Some((_, after)) = rest.split_once("$(") {
        let inner = after.rsplit_once(')').map_or(after, |(inner, _)| inner);
        found.push(inner.to_owned());
        rest = after;
        if found.len() == DEEPEST {
            return found;
        }
    }
    found.extend(line.split('`').skip(1).step_by(2).take(DEEPEST).map(str::to_owned));
    found
}

fn git(arguments: &[String]) -> (Effect, String) {
    let verb = arguments.first().map_or("", String::as_str);
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(&argument.as_str()));
    let starts = |wanted: &[&str]| arguments.iter().any(|argument| wanted.iter().any(|start| argument.starts_with(start)));
    let effect = match verb {
        "push" if has(&["-f", "--force", "--delete", "-d", "--mirror", "--prune"]) || starts(&["--force", ":", "+"]) => Effect::Destroy,
        "reset" if has(&["--hard"]) => Effect::Destroy,
        "clean" | "gc" | "prune" | "filter-branch" => Effect::Destroy,
        "branch" | "tag" if has(&["-D", "-d", "--delete", "-f", "--force"]) => Effect::Destroy,
        // Options that write files or run programs.
        _ if starts(&[
            "-c",
            "--exec",
            "--upload-pack",
            "--receive-pack",
            "--output",
            "-O",
            "--open-files-in-pager",
            "--ext-diff",
            "--textconv",
            "--config",
        ]) =>
        {
            Effect::Opaque
        }
        "status" | "rev-parse" | "ls-files" | "log" | "diff" | "show" | "shortlog" | "describe" | "blame" => Effect::Read,
        "add" | "commit" | "fetch" | "push" | "tag" | "branch" | "switch" => Effect::Write,
        // Options before the verb may bring an alias along; of other verbs nothing is known.
        _ => Effect::Opaque,
    };
    (effect, format!("runs git {}", safe::line(verb, 30)))
}

fn redis(arguments: &[String]) -> (Effect, String) {
    const TAKES_VALUE: &[&str] = &["-h", "-p", "-a", "-n", "-u", "--user", "--pass"];
    let mut words = Vec::new();
    let mut iterator = arguments.iter();
    while let Some(argument) = iterator.next() {
        if words.is_empty() && TAKES_VALUE.contains(&argument.as_str()) {
            iterator.next();
        } else if !(words.is_empty() && argument.starts_with('-')) {
            words.push(argument.as_bytes().to_vec());
        }
    }
    worst(super::sql::redis_command(&words))
}

fn sql(program: &str, arguments: &[String]) -> (Effect, String) {
    let given = arguments
        .iter()
        .zip(arguments.iter().skip(1))
        .filter(|(option, _)| matches!(option.as_str(), "-c" | "--command" | "-e" | "--execute" | "-Q" | "-q" | "--query" | "--eval"))
        .map(|(_, text)| text.as_str());
    let glued = arguments.iter().filter_map(|argument| {
        argument.strip_prefix("--command=").or_else(|| argument.strip_prefix("--execute=")).or_else(|| argument.strip_prefix("--query="))
    });
    let texts: Vec<&str> = given.chain(glued).collect();
    // Statements from a file, or glued to their option, are not seen.
    let unseen = |argument: &String| {
        (argument.starts_with("-f") || argument.starts_with("--file") || argument.starts_with("--init") || argument.starts_with('<'))
            || (!argument.starts_with("--") && argument.len() > 2 && ["-c", "-e", "-q", "-Q", "-i"].iter().any(|option| argument.starts_with(option)))
    };
    if texts.is_empty() || arguments.iter().any(unseen) {
        return (Effect::Opaque, format!("runs {program} on statements that are not seen"));
    }
    let dialect = match program {
        "psql" | "cockroach" => Dialect::PostgreSql,
        "mysql" | "mariadb" => Dialect::MySql,
        _ => Dialect::Other,
    };
    texts
        .iter()
        .take(MOST_COMMANDS)
        .map(|text| worst(understand(dialect, text.as_bytes(), &Said::new())))
        .max_by_key(|(effect, _)| rank(*effect))
        .unwrap_or((Effect::Opaque, "no statement".to_owned()))
}

fn worst(operations: Vec<agentbox_core::Operation>) -> (Effect, String) {
    operations
        .into_iter()
        .max_by_key(|operation| rank(operation.effect))
        .map_or((Effect::Opaque, "nothing was understood".to_owned()), |operation| (operation.effect, operation.reason))
}

/// Tools whose verb stands first, or second below a kind (`docker container ls`).
fn tool(program: &str, arguments: &[String]) -> (Effect, String) {
    let verbs: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).take(3).collect();
    let any = |wanted: &[&str]| verbs.iter().any(|verb| wanted.iter().any(|known| verb == known || verb.starts_with(&format!("{known}-"))));
    const READING: &[&str] = &["get", "describe", "list", "ls", "ps", "logs", "inspect", "show", "status", "version", "images", "top", "is-active", "cat"];
    // An option before the verb may take it for its value.
    let first = arguments.first().map_or("", String::as_str);
    let effect = if any(&["delete", "destroy", "rm", "rmi", "prune", "remove", "uninstall", "terminate", "purge", "down", "drain", "rb", "deallocate", "mask"])
    {
        Effect::Destroy
    } else if matches!(program, "kubectl" | "oc" | "docker" | "podman" | "helm" | "systemctl") && READING.contains(&first) {
        Effect::Read
    } else if matches!(program, "kubectl" | "oc" | "docker" | "podman" | "systemctl") && matches!(first, "restart" | "start" | "stop" | "scale" | "reload") {
        Effect::Write
    } else {
        Effect::Opaque
    };
    (effect, format!("runs {program} {}", safe::line(&verbs.join(" "), 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known() {
        for (line, wanted) in [
            ("uptime; df -h", Effect::Read),
            ("pg_dump shop", Effect::Read),
            ("rm -rf /var/lib/postgresql", Effect::Destroy),
            ("sudo -u postgres psql -c 'DROP TABLE x'", Effect::Destroy),
            ("psql -c \"SELECT 1\"", Effect::Read),
            ("bash -c 'cd /srv && rm -rf data'", Effect::Destroy),
            ("find . -name '*.log' -delete", Effect::Destroy),
            ("find / -exec rm {} +", Effect::Destroy),
            ("ls | xargs rm", Effect::Destroy),
            ("echo hi > /etc/motd", Effect::Write),
            ("grep rm notes.txt 2>/dev/null", Effect::Read),
            ("echo 'rm -rf /'", Effect::Read),
            ("echo \"$(rm -rf /)\"", Effect::Destroy),
            ("rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/data/", Effect::Read),
            ("scp -t /etc/nginx/nginx.conf", Effect::Write),
            ("redis-cli -h db FLUSHALL", Effect::Destroy),
            ("kubectl -n prod delete pod x", Effect::Destroy),
            ("kubectl get pods", Effect::Read),
            ("/opt/acme/do-it", Effect::Opaque),
            ("cd shop && php artisan migrate:fresh --force", Effect::Destroy),
            ("git push --force origin main", Effect::Destroy),
            ("echo 'unfinished", Effect::Opaque),
            ("awk 'BEGIN { system(\"rm x\") }'", Effect::Opaque),
            ("find . -exec true \\; -exec rm {} \\;", Effect::Destroy),
            ("find . -okdir rm {} \\;", Effect::Destroy),
            ("find . -fprint /etc/passwd", Effect::Write),
            ("PAGER='rm -rf /' git log", Effect::Opaque),
            ("git -c alias.log='!rm -rf /' log", Effect::Opaque),
            ("git log --output=/etc/passwd", Effect::Opaque),
            ("psql -c 'SELECT 1' -f drop.sql", Effect::Opaque),
            ("psql -c 'SELECT 1' -c'DROP TABLE x'", Effect::Opaque),
            ("kubectl exec top -- sh", Effect::Opaque),
            ("docker run ls", Effect::Opaque),
            ("journalctl --vacuum-size=1", Effect::Opaque),
            ("source drop.sh", Effect::Opaque),
            ("make clean", Effect::Opaque),
            ("curl -X DELETE https://api", Effect::Opaque),
            ("pg_dump -f /etc/passwd shop", Effect::Opaque),
            ("redis-cli -h db", Effect::Opaque),
        ] {
            assert_eq!(judge(line).0, wanted, "{line}: {}", judge(line).1);
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let mut line = "true".to_owned();
        for _ in 0..12 {
            line = format!("eval {line}");
        }
        assert_eq!(judge(&line).0, Effect::Opaque);
        assert_eq!(judge(&"a".repeat(LONGEST + 1)).0, Effect::Opaque);
        assert_eq!(judge(&"a;".repeat(MOST_COMMANDS + 10)).0, Effect::Opaque);
    }
}
