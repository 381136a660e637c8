//! The desktop's keyring (Secret Service: GNOME Keyring, KWallet, KeePassXC), asked by libsecret's own program. It may ask the person to unlock it.

use std::{io, process::Command};

use super::program::{self, Failed};

/// The entry with these attributes.
pub(super) fn read(attributes: &[(String, String)]) -> Result<String, String> {
    let mut command = Command::new("secret-tool");
    command.arg("lookup");
    for (name, value) in attributes {
        command.args([name, value]);
    }
    program::run(&mut command).map_err(|failed| match failed {
        Failed::Start(error) if error.kind() == io::ErrorKind::NotFound => {
            "the keyring is asked by `secret-tool`, which is not installed: apt-get install libsecret-tools".to_owned()
        }
        // It says the same where there is no such entry, no keyring, and where nobody unlocked it.
        Failed::Status(_) => "the keyring gave nothing: see `secret-tool search ATTRIBUTE VALUE`, and that the keyring is there and unlocked".to_owned(),
        other => format!("secret-tool {other}"),
    })
}
