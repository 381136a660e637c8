//! Programs of which nothing is known but that they are told by a word what to do: `pulumi destroy`, `heroku apps:destroy`, `manage.py flush`.
//! It only tells what destroys; a word that says nothing of the kind leaves the program unknown.

use agentbox_core::Effect;

use super::super::words;

/// Words of a line in which the order stands.
const FIRST: usize = 4;

/// Longest word that is read as an order.
const LONGEST: usize = 64;

/// What these take away is installed again.
const INSTALLERS: &[&str] = &[
    "apk", "apt", "apt-get", "brew", "bun", "bundle", "cargo", "composer", "conda", "dnf", "dpkg", "gem", "go", "mamba", "npm", "nvm", "opkg", "pacman", "pip",
    "pip3", "pipx", "pnpm", "poetry", "rustup", "snap", "uv", "yarn", "yum", "zypper",
];

/// Programs that run another, whose name comes next, and words between the two.
const RUNNERS: &[&str] = &[
    "bundle", "bunx", "composer", "dotenv", "deno", "node", "npx", "npm", "php", "pipenv", "pnpm", "pnpx", "poetry", "python", "python3", "ruby", "uv", "uvx",
    "yarn",
];

/// Orders of migrations after which the tables are empty, or of before.
const MIGRATIONS: &[&str] = &["fresh", "refresh", "reset", "rollback", "down", "zero"];

/// Options that give the order themselves.
const OPTIONS: &[&str] = &["delete", "destroy", "drop", "erase", "purge", "wipe"];

/// What the line destroys by its words, if they say so.
#[must_use]
pub(super) fn losing(name: &str, arguments: &[String]) -> Option<String> {
    let said = |word: &str| Some(word.to_owned());
    match name {
        "crontab" if arguments.iter().any(|argument| argument == "-r") => return said("-r"),
        // Its `sync` removes at the target what the source does not have.
        "rclone" if arguments.iter().any(|argument| matches!(argument.as_str(), "sync" | "bisync")) => return said("sync"),
        _ => {}
    }
    let runs_script = |word: &String| matches!(word.as_str(), "run" | "exec" | "x" | "dlx" | "run-script");
    let is_runner = RUNNERS.contains(&name);
    // `npm uninstall a` takes away what is installed again; `npm run db:reset` is the project's own.
    if INSTALLERS.contains(&name) && !(is_runner && arguments.first().is_some_and(runs_script)) {
        return None;
    }
    let mut around = words::split(name);
    for argument in arguments.iter().filter(|argument| !argument.starts_with('-')).filter(|word| !(is_runner && runs_script(word))).take(FIRST) {
        let is_word = argument.len() <= LONGEST && argument.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-_".contains(&byte));
        if !is_word {
            continue;
        }
        let order = words::split(argument);
        let migrates = around.last().is_some_and(|last| last.starts_with("migrat")) || order.first().is_some_and(|first| first.starts_with("migrat"));
        if migrates && order.last().is_some_and(|last| MIGRATIONS.contains(&last.as_str())) {
            return said(argument);
        }
        // A tool of its own says what it does to what in one word or in two, the verb first or last.
        let is_verb = order.first().is_some_and(|first| words::destroys(first)) || order.last().is_some_and(|last| words::destroys(last));
        if is_verb && words::of_words(&order, &around) == Some(Effect::Destroy) {
            return said(argument);
        }
        around.extend(order);
    }
    // `kafka-topics.sh --delete --topic orders`, `nomad job stop -purge web`.
    let option = |argument: &&String| {
        let word = argument.trim_start_matches('-');
        argument.starts_with('-') && OPTIONS.iter().any(|known| word == *known || word.strip_prefix(known).is_some_and(|rest| rest == "-all"))
    };
    arguments.iter().find(option).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losing_line(line: &str) -> bool {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        losing(&words[0], &words[1..]).is_some()
    }

    #[test]
    fn orders_that_lose() {
        for line in [
            "php artisan migrate:fresh --force",
            "python manage.py flush --no-input",
            "npx prisma migrate reset --force",
            "npm run db:reset",
            "pnpm exec drizzle-kit drop",
            "heroku apps:destroy shop --confirm shop",
            "vercel remove shop --yes",
            "fly volumes destroy vol_1 -y",
            "pulumi destroy --yes",
            "supabase db reset --linked",
            "zfs destroy -r tank/data",
            "rclone sync empty: prod:bucket",
            "rclone purge prod:bucket",
            "crontab -r",
            "kafka-topics.sh --delete --topic orders",
            "nomad job stop -purge web",
            "rabbitmqctl purge_queue orders",
            "consul kv delete -recurse prod",
            "vault kv destroy -versions=1 secret/db",
            "mysqladmin drop shop",
            "railway volume delete",
            "rails db:drop",
        ] {
            assert!(losing_line(line), "{line}");
        }
    }

    #[test]
    fn others_are_not_told() {
        for line in [
            "npm uninstall left-pad",
            "pip uninstall six",
            "apt-get remove vim",
            "npx prisma migrate deploy",
            "python delete_old.py",
            "wp cache flush",
            "fly deploy",
            "make clean",
            "curl -X DELETE https://api",
            "crontab -l",
            "rclone copy a b",
            "heroku ps:restart web",
            "railway up",
            "tool --reset-after 5",
        ] {
            assert!(!losing_line(line), "{line}");
        }
    }
}
