//! `agentbox web`: the approvals desk as a page for a browser on this machine.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use agentbox_desk::{
    Card, HoldId,
    card::Row,
    channels::web::{Desk, Listening, Web},
    control::{Folder, FromDesk, ToDesk},
};

use crate::commands::desk::{Boxes, Fault, ask};

/// Arguments of `agentbox web`.
#[derive(Debug, clap::Args)]
pub(crate) struct WebArguments {
    /// A loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A UNIX socket instead, for `ssh -L 8080:PATH`
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    socket: Option<PathBuf>,
}

/// Serves until Ctrl-C.
pub(crate) fn run(arguments: &WebArguments) -> ExitCode {
    serve(arguments).map_or_else(Fault::exit, |()| ExitCode::SUCCESS)
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Fault {
    let what = what.to_owned();
    move |error| Fault::Failed(format!("{what}: {error}"))
}

fn serve(arguments: &WebArguments) -> Result<(), Fault> {
    // Refused in a box, and where the folder of the sockets is not to be trusted.
    Boxes::find()?;
    let listening = match &arguments.socket {
        Some(path) => Listening::Socket(socket(path)?),
        None => Listening::Loopback(TcpListener::bind(arguments.listen).map_err(failed(&format!("listening on {}", arguments.listen)))?),
    };
    let origin = match &listening {
        Listening::Loopback(listener) => format!("http://{}", listener.local_addr().map_err(failed("the address"))?),
        Listening::Socket(_) => "http://localhost:PORT".to_owned(),
    };
    let web = Web::new(Box::new(Behind), &listening).map_err(|error| Fault::Failed(error.to_string()))?;
    print_link(&web, &origin)?;
    if std::io::stdin().is_terminal() {
        let (web, origin) = (Arc::clone(&web), origin.clone());
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if line.is_err() || print_link(&web, &origin).is_err() {
                    return;
                }
            }
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("the runtime"))?;
    runtime.block_on(web.serve(listening)).map_err(failed("the page"))
}

/// On the owner's own terminal, and nowhere else.
fn print_link(web: &Web, origin: &str) -> Result<(), Fault> {
    let link = web.link().ok_or_else(|| Fault::Failed("the system gives no random bits".to_owned()))?;
    let text = format!("Open this, once, within ten minutes (Enter prints another):\n{origin}{link}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(failed("writing"))
}

/// A socket that only this user opens.
fn socket(path: &Path) -> Result<UnixListener, Fault> {
    let own = |error| failed(&format!("listening on {}", path.display()))(error);
    if UnixStream::connect(path).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
        let _ = std::fs::remove_file(path);
    }
    // Made in the folder that only this user opens, closed, and then moved to where it was asked for: never open to anybody in between.
    let folder = Folder::of_this_user().map_err(|error| Fault::Failed(error.to_string()))?;
    folder.make().map_err(|error| Fault::Failed(error.to_string()))?;
    let early = folder.path().join(format!("web-{}.new", std::process::id()));
    let listener = UnixListener::bind(&early).map_err(own)?;
    std::fs::set_permissions(&early, std::fs::Permissions::from_mode(0o600)).map_err(own)?;
    std::fs::rename(&early, path).map_err(own)?;
    Ok(listener)
}

/// The boxes of this user, looked for anew each time.
struct Behind;

impl Desk for Behind {
    fn rows(&self) -> (Vec<Row>, usize) {
        Boxes::find().map(|boxes| super::holds::rows(&boxes)).unwrap_or_default()
    }

    fn card(&self, id: &HoldId) -> Option<Card> {
        Boxes::find().ok()?.card(id).ok()?.map(|(_, card)| card)
    }

    fn rule(&self, id: &HoldId, message: &ToDesk) -> FromDesk {
        let told = Boxes::find().and_then(|boxes| match boxes.card(id)? {
            Some((session, _)) => ask(session, message),
            None => Err(Fault::No(format!("nothing waits under the name {id}"))),
        });
        told.unwrap_or_else(|fault| match fault {
            Fault::No(why) | Fault::Failed(why) => FromDesk::No(why),
        })
    }
}
