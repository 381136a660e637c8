//! From a question that was answered with yes to a stream to the very server that was asked about.

use agentbox_core::{Effect, Operation, Refusal, Request};
use tokio::net::TcpStream;

use super::{Asking, Cloth, No, Question};
use crate::{
    http::still_fits,
    opaque::whole_connection,
    upstream::{Alpn, UpstreamError, UpstreamStream},
};

/// A server that was reached.
pub(crate) struct Far {
    pub(crate) stream: UpstreamStream,
    /// With the address that was connected to.
    pub(crate) destination: agentbox_core::Destination,
    pub(crate) cloth: Cloth,
}

/// Why no server was reached.
pub(crate) enum Unreached {
    Far(UpstreamError),
    /// Its name leads to a place of which another word holds.
    Elsewhere(Refusal),
}

impl From<UpstreamError> for Unreached {
    fn from(error: UpstreamError) -> Self {
        Unreached::Far(error)
    }
}

/// What must be asked besides, where a bare address is connected to that nobody listed.
pub(crate) fn unlisted(asking: &Asking) -> Option<Operation> {
    asking.broker.is_unlisted(&asking.destination).then(|| {
        let why = "a bare address that no place lists: nobody knows what is behind it";
        whole_connection(&asking.destination, "connection.unlisted-address", why)
    })
}

/// Connects in the clear, to an address that `question`'s answer holds for; gives the destination with it.
pub(crate) async fn connect(asking: &Asking, question: Request) -> Result<(TcpStream, agentbox_core::Destination), Unreached> {
    let broker = &asking.broker;
    let by_name = asking.destination.addresses.is_empty();
    let destination = broker.resolved(&asking.destination).await?;
    if by_name {
        still_fits(broker, question, &destination).map_err(Unreached::Elsewhere)?;
    }
    let tcp = broker.connector.connect_tcp(&destination).await?;
    Ok((tcp, destination))
}

/// Speaks verified TLS on a connection.
pub(crate) async fn secure(asking: &Asking, tcp: TcpStream, destination: agentbox_core::Destination, alpn: Alpn) -> Result<Far, Unreached> {
    let tls = asking.broker.connector.secure(&destination, tcp, alpn).await?;
    Ok(Far { stream: UpstreamStream::Tls(Box::new(tls)), destination, cloth: Cloth::Tls })
}

/// Why a session does not begin.
pub(crate) enum NotBegun {
    /// The client has gone.
    Gone,
    Refused(Refusal),
    Unreachable(String),
}

/// Asks whether a session may begin whose protocol says nothing before its first command, and reaches the server as the client reached us.
pub(crate) async fn begin(asking: &mut Asking, action: &str, cloth: Cloth) -> Result<UpstreamStream, NotBegun> {
    let mut operations = vec![Operation::new(Effect::Read, action, asking.resource("server"), "connects")];
    operations.extend(unlisted(asking));
    let question = asking.request(Question { operations, parts: &[b"startup"], what: "(connects)", excerpt: String::new() });
    match asking.ask_to_begin(question.clone()).await {
        Ok(yes) => asking.done(yes.0.as_slice(), "the session was begun"),
        Err(No::Gone) => return Err(NotBegun::Gone),
        Err(No::Refused(why) | No::TooLong(why)) => return Err(NotBegun::Refused(why)),
    }
    let reached = async {
        let (tcp, destination) = connect(asking, question).await?;
        match cloth {
            Cloth::Clear => Ok((UpstreamStream::Clear(tcp), destination)),
            Cloth::Tls => secure(asking, tcp, destination, Alpn::None).await.map(|far| (far.stream, far.destination)),
        }
    };
    match reached.await {
        Ok((stream, destination)) => {
            asking.destination = destination;
            Ok(stream)
        }
        Err(Unreached::Far(error)) => Err(NotBegun::Unreachable(error.to_string())),
        Err(Unreached::Elsewhere(why)) => {
            asking.remember("(connects)", &why);
            Err(NotBegun::Refused(why))
        }
    }
}
