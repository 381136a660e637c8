//! From the first byte to the session: whether it may begin, and the way to the server.

use std::{io, sync::Arc};

use agentbox_core::{Destination, Effect, Operation};

use super::{
    refusal,
    relay::{beginning, relay},
};
use crate::{
    broker::Broker,
    client_stream::Presence,
    session::{self as shared, Asking, Cloth, Duplex, No, Reader, Unreached, last_words, unlisted},
    upstream::{Alpn, UpstreamStream},
};

/// Serves one client.
pub(crate) async fn serve(broker: Arc<Broker>, destination: Destination, presence: Presence, mut client: Box<dyn Duplex>, cloth: Cloth) -> io::Result<()> {
    let mut asking = Asking::of("redis", broker, presence, &destination).await;
    "0".clone_into(&mut asking.database);
    let mut operations = vec![Operation::new(Effect::Read, "redis.connect", asking.resource("server"), "connects")];
    operations.extend(unlisted(&asking));
    let question = beginning(&asking, operations);
    match asking.ask_to_begin(question.clone()).await {
        Ok(yes) => asking.done(yes.0.as_slice(), "the session was begun"),
        Err(No::Gone) => return Ok(()),
        Err(No::Refused(why) | No::TooLong(why)) => return last_words(&mut client, &refusal::error(&why)).await,
    }
    let reached = async {
        let (tcp, destination) = shared::connect(&asking, question).await?;
        match cloth {
            Cloth::Clear => Ok((UpstreamStream::Clear(tcp), destination)),
            Cloth::Tls => shared::secure(&asking, tcp, destination, Alpn::None).await.map(|far| (far.stream, far.destination)),
        }
    };
    let (far, destination) = match reached.await {
        Ok(reached) => reached,
        Err(Unreached::Far(error)) => return last_words(&mut client, &refusal::plain(&error.to_string())).await,
        Err(Unreached::Elsewhere(why)) => {
            asking.remember("(connects)", &why);
            return last_words(&mut client, &refusal::error(&why)).await;
        }
    };
    asking.destination = destination;
    relay(asking, Reader::new(client), far).await
}
