//! What the box sees in the place of the secrets: its variables and files, with placeholders in them.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use agentbox_core::wire::{Issued, Placeholder};

use super::secret::Held;
use crate::secrets::Swaps;

/// Longest file that is shown with placeholders in it; files of settings are shorter.
const LONGEST_FILE: u64 = 128 << 10;

/// Of all such files together, so that they fit into one message.
const ALL_FILES: usize = 256 << 10;

/// All placeholders, with the variables and files that they are put into. `variables` are those that the box would have.
pub(super) fn issue(held: &[Held], variables: &[(String, String)]) -> Issued {
    let swaps = swaps(held);
    let mut issued = Issued { warnings: held.iter().filter_map(Held::warning).collect(), ..Issued::default() };
    let mut changed: BTreeMap<String, String> = BTreeMap::new();
    let hidden = |text: &str| held.iter().filter_map(Held::identity).fold(text.to_owned(), |text, identity| identity.hidden_in(&text));
    for (name, value) in variables {
        let new = hidden(&swaps.in_text(value).unwrap_or_else(|| value.clone()));
        if new != *value {
            changed.insert(name.clone(), new);
        }
    }
    let mut room = ALL_FILES;
    for one in held {
        let Some(shown) = one.shown() else { continue };
        issued.placeholders.push(Placeholder { name: one.rule.name.clone(), text: one.stands.clone() });
        for variable in one.rule.variables() {
            changed.insert(variable.to_owned(), shown.clone());
        }
        for path in one.rule.shown_in() {
            if issued.files.iter().any(|(known, _)| known == path) {
                continue;
            }
            match text(path)
                .map(|text| swaps.in_text(&text).or_else(|| one.pair().map(|(secret, stands)| text.replace(secret, stands))).unwrap_or(text))
                .map(|text| hidden(&text))
            {
                Ok(text) if text.len() <= room => {
                    room -= text.len();
                    issued.files.push((path.to_owned(), text));
                }
                Ok(_) => issued.warnings.push(format!("credential `{}`: {} is too long to be shown with its placeholder", one.rule.name, path.display())),
                Err(why) => issued.warnings.push(format!("credential `{}`: {}: {why}", one.rule.name, path.display())),
            }
        }
    }
    issued.variables = changed.into_iter().collect();
    issued
}

/// Placeholders for all secrets that there are.
pub(super) fn swaps(held: &[Held]) -> Swaps {
    Swaps::new(held.iter().filter_map(Held::pair))
}

fn text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.kind().to_string())?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err("it is no regular file".to_owned());
    }
    let mut text = String::new();
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(|error| error.kind().to_string())?;
    if text.len() as u64 > LONGEST_FILE { Err("it is too long".to_owned()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use agentbox_core::{
        HostName,
        policy::settings::{CredentialRule, Source},
    };

    use super::*;

    #[test]
    fn nothing_of_a_secret_is_in_what_the_box_gets() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "//registry/:_authToken=npm_secret0123456789\nother=1").unwrap();
        let rule = CredentialRule {
            name: "npm".into(),
            source: Source::Env("NPM_TOKEN".into()),
            hosts: vec![HostName::parse("registry.example").unwrap()],
            allow: vec!["*".into()],
            expires: None,
            env: vec!["NODE_AUTH".into()],
            files: vec![file.path().to_owned(), "/nonexistent/rc".into()],
            environment: None,
        };
        let held = [Held::with(rule, "npm_secret0123456789")];
        let there = [("ALSO".to_owned(), "Bearer npm_secret0123456789".to_owned()), ("PATH".to_owned(), "/bin".to_owned())];
        let issued = issue(&held, &there);
        let text = format!("{issued:?}");
        assert!(!text.contains("npm_secret"), "{text}");
        let names: Vec<&str> = issued.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ALSO", "NODE_AUTH", "NPM_TOKEN"]);
        assert!(issued.files[0].1.contains(&format!("_authToken={}\nother=1", issued.placeholders[0].text)), "{text}");
        assert!(issued.warnings.iter().any(|warning| warning.contains("/nonexistent/rc")), "{text}");
    }
}
