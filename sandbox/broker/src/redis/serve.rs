//! From the first byte to the session.

use std::{io, sync::Arc};

use agentbox_core::Destination;

use super::{
    keyed, refusal,
    relay::{Ended, relay},
};
use crate::{
    broker::Broker,
    client_stream::Presence,
    session::{Asking, Cloth, Duplex, NotBegun, Reader, begin, last_words},
};

/// Serves one client.
pub(crate) async fn serve(broker: Arc<Broker>, destination: Destination, presence: Presence, mut client: Box<dyn Duplex>, cloth: Cloth) -> io::Result<()> {
    let mut asking = Asking::of("redis", broker, presence, &destination).await;
    "0".clone_into(&mut asking.database);
    match begin(&mut asking, "redis.connect", cloth).await {
        Ok(far) => {
            let mut ended = relay(asking, Reader::new(client), far).await?;
            // Each turn takes a log-in, which is asked about.
            while let Ended::Anew(anew) = ended {
                ended = keyed::session(*anew, cloth).await?;
            }
            Ok(())
        }
        Err(NotBegun::Gone) => Ok(()),
        Err(NotBegun::Refused(why)) => last_words(&mut client, &refusal::error(&why)).await,
        Err(NotBegun::Unreachable(why)) => last_words(&mut client, &refusal::plain(&why)).await,
    }
}
