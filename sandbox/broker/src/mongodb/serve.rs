//! From the first byte to the session.

use std::{io, sync::Arc};

use agentbox_core::Destination;
use tokio::time::timeout;

use super::{
    frames::{error, head, refused},
    relay::relay,
};
use crate::{
    broker::Broker,
    client_stream::Presence,
    session::{Asking, Cloth, Duplex, HANDSHAKE, NotBegun, Reader, begin, last_words},
};

/// Serves one client.
pub(crate) async fn serve(broker: Arc<Broker>, destination: Destination, presence: Presence, client: Box<dyn Duplex>, cloth: Cloth) -> io::Result<()> {
    let mut asking = Asking::of("mongodb", broker, presence, &destination).await;
    let mut client = Reader::new(client);
    let why = match begin(&mut asking, "mongodb.connect", cloth).await {
        Ok(far) => return relay(asking, client, far).await,
        Err(why) => why,
    };
    // It is told as the answer to the first message.
    let first = timeout(HANDSHAKE, async {
        loop {
            if let Some(head) = head(&client.buffer)? {
                return Ok::<_, io::Error>(head);
            }
            if client.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    })
    .await??;
    let bytes = match why {
        NotBegun::Gone => return Ok(()),
        NotBegun::Refused(refusal) => refused(first.number, first.kind, &refusal),
        NotBegun::Unreachable(why) => error(first.number, first.kind, &why),
    };
    last_words(client.stream(), &bytes).await
}
