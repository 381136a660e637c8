//! `agentbox doctor`: what this machine can enforce, proven by trying it, and the fix for what is missing.

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use agentbox_core::safe;
use agentbox_kernel::{
    doctor::{self, Repair, Report},
    layer::LayerStatus,
    setting::WEAKER,
};

/// Arguments of `agentbox doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArguments {
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Set right what can be: write the files that this machine needs, and load them. Without root: show what would be done
    #[arg(long, conflicts_with = "json")]
    fix: bool,
}

/// The columns of the table; what is longer is broken between words.
const NAME: usize = 18;
const STATUS: usize = 10;
const WIDTH: usize = 110;

/// The longest text of the kernel or of a file that is shown.
const LONGEST: usize = 2000;

/// Exits 0 if `run` would start here, 1 if it would refuse to.
pub(crate) fn run(arguments: &DoctorArguments) -> ExitCode {
    if arguments.fix
        && let Err(why) = set_right()
    {
        return crate::commands::run::fail(&why);
    }
    let report = doctor::examine();
    let shown = if arguments.json { as_json(&report) } else { Ok(as_table(&report)) };
    let printed = shown.and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()));
    match printed {
        Err(error) => crate::commands::run::fail(&format!("cannot show what was found: {error}")),
        Ok(()) if report.can_run() || report.can_run_without_namespaces() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}

/// Does what root may do, or tells root what it would be.
fn set_right() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program is not known: {error}"))?;
    let repairs = doctor::repairs(&program);
    let mut said = String::new();
    if repairs.is_empty() {
        say("nothing that `--fix` knows of is in the way; what each layer needs is said below\n");
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        for Repair { what, file, contents, command } in &repairs {
            let _ = write!(said, "would write {}: {what}\n{}would run: {}\n", file.display(), indented(contents), command.join(" "));
        }
        say(&format!("{said}it takes root:  sudo {} doctor --fix\n", safe::line(&program.display().to_string(), 200)));
        return Ok(());
    }
    for Repair { what, file, contents, command } in &repairs {
        say(&format!("writing {}: {what}\n", file.display()));
        std::fs::write(file, contents).map_err(|error| format!("{}: {error}", file.display()))?;
        let (name, arguments) = command.split_first().ok_or("a repair without a command")?;
        match std::process::Command::new(name).args(arguments).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                return Err(format!("{}: {status}; {} is written, and counts after the next start of this machine", command.join(" "), file.display()));
            }
            Err(error) => return Err(format!("{name}: {error}; {} is written, and counts after the next start of this machine", file.display())),
        }
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn as_json(report: &Report) -> Result<String, String> {
    let mut value = serde_json::to_value(report).map_err(|error| error.to_string())?;
    if let Some(object) = value.as_object_mut() {
        object.insert("can_run".to_owned(), (report.can_run() || report.can_run_without_namespaces()).into());
    }
    serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn as_table(report: &Report) -> String {
    let mut out =
        format!("agentbox doctor: kernel {}, uid {}, every layer tried in {} ms\n\n", safe::line(&report.kernel, 80), report.uid, report.milliseconds);
    for layer in &report.layers {
        let (status, why, fix) = match &layer.status {
            LayerStatus::Enforced => ("enforced", "", None),
            LayerStatus::Partial { why } => ("partial", why.as_str(), None),
            LayerStatus::Missing { why, fix } => ("missing", why.as_str(), Some(fix)),
        };
        row(&mut out, layer.layer.name(), status, why);
        if let Some(fix) = fix {
            row(&mut out, "", "fix:", fix);
        }
    }
    out.push('\n');
    for fact in &report.facts {
        row(&mut out, fact.name, "", &format!("{} ({})", fact.value, fact.meaning));
    }
    let last = if report.can_run() {
        "`agentbox run` starts here.".to_owned()
    } else if report.can_run_without_namespaces() {
        format!("`agentbox run` starts here, with less than elsewhere: {WEAKER}. `require` in a policy refuses to do without a layer.")
    } else {
        "`agentbox run` refuses to start here: a layer that it cannot do without is missing.".to_owned()
    };
    let _ = write!(out, "\n{last}\n");
    out
}

/// One row, its text broken to the width and hanging below its beginning.
fn row(out: &mut String, name: &str, status: &str, text: &str) {
    let text = safe::line(text, LONGEST);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let room = WIDTH - NAME - STATUS;
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    for (number, line) in lines.iter().enumerate() {
        let (name, status) = if number == 0 { (name, status) } else { ("", "") };
        let whole = format!("{name:NAME$}{status:STATUS$}{line}");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", whole.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use agentbox_kernel::{
        layer::{Layer, LayerReport},
        setting::Setting,
    };

    use super::*;

    fn report() -> Report {
        let layers = vec![
            LayerReport::enforced(Layer::Seccomp),
            LayerReport::partial(Layer::Landlock, "ABI 2 of 10; done by others: truncating (mount-namespace)"),
            LayerReport::missing(Layer::Cgroup, "a file said \u{1b}[2J", "do this"),
        ];
        Report {
            kernel: "6.1.0 x86_64".to_owned(),
            uid: 1000,
            layers,
            setting: Setting::Namespaces,
            facts: Vec::new(),
            landlock_abi: Some(2),
            milliseconds: 12,
        }
    }

    #[test]
    fn the_table_says_status_why_and_fix() {
        let expected = "agentbox doctor: kernel 6.1.0 x86_64, uid 1000, every layer tried in 12 ms\n\n\
                        seccomp           enforced\n\
                        landlock          partial   ABI 2 of 10; done by others: truncating (mount-namespace)\n\
                        cgroup            missing   a file said \\u{1b}[2J\n                  fix:      do this\n\n\n\
                        `agentbox run` refuses to start here: a layer that it cannot do without is missing.\n";
        assert_eq!(as_table(&report()), expected);
    }

    #[test]
    fn long_text_is_broken_between_words() {
        let mut out = String::new();
        row(&mut out, "name", "status", &"word ".repeat(60));
        assert!(out.lines().count() > 2);
        assert!(out.lines().all(|line| line.len() <= WIDTH));
        assert!(out.lines().skip(1).all(|line| line.starts_with(&" ".repeat(NAME + STATUS))));
    }

    #[test]
    fn json_has_every_layer_and_the_answer() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&report()).unwrap()).unwrap();
        assert_eq!(value["can_run"], false);
        assert_eq!(value["layers"][2]["layer"], "cgroup");
        assert_eq!(value["layers"][2]["status"]["is"], "missing");
        assert_eq!(value["layers"][2]["status"]["fix"], "do this");
    }
}
