//! What the server answers: followed message by message, so that it is known what a session is, and passed on as it comes.

use std::io;

use tokio::{
    io::{AsyncWriteExt as _, ReadHalf},
    time::timeout,
};

use super::{
    frames::{HEADER, Malformed, Wire},
    relay::Shared,
    session::Heard,
};
use crate::{
    session::{Asking, BLOCK, FAREWELL, emptied},
    upstream::UpstreamStream,
};

/// Longest message of the server that is read whole: a setting, an error with its statement. Longer errors pass unread.
const LONGEST_HEARD: usize = 1 << 20;

/// Relays the server's side until it ends.
pub(super) async fn down(asking: &Asking, shared: &Shared, mut far: Wire<ReadHalf<UpstreamStream>>) -> io::Result<()> {
    let mut out: Vec<u8> = Vec::new();
    loop {
        let Some(head) = far.head()? else {
            write(shared, &mut out).await?;
            if far.more().await? == 0 {
                return last(shared).await;
            }
            continue;
        };
        let wanted = head.length <= LONGEST_HEARD && shared.session().wants_body(head.kind);
        if wanted {
            while far.buffer.len() < head.whole() {
                write(shared, &mut out).await?;
                if far.more().await? == 0 {
                    return last(shared).await;
                }
            }
        }
        let heard = {
            let body = if wanted { far.buffer.get(HEADER..head.whole()).unwrap_or_default() } else { &[] };
            let mut session = shared.session();
            let heard = session.heard(head.kind, body).inspect_err(|error| tracing::warn!(%error, "a PostgreSQL server breaks the protocol"))?;
            if matches!(head.kind, b'Z' | b'E')
                && let Some((asks, outcome)) = session.ended()
            {
                asking.done(&asks, &outcome);
            }
            heard
        };
        if !matches!(head.kind, b'D' | b'd') {
            shared.answered.notify_one();
        }
        if let Heard::Replace(bytes) = &heard {
            out.extend_from_slice(bytes);
        }
        let mut left = head.whole();
        while left > 0 {
            left -= far.pass(left, (heard == Heard::Pass).then_some(&mut out));
            if out.len() >= BLOCK {
                write(shared, &mut out).await?;
            }
            if left > 0 && far.buffer.is_empty() && far.more().await? == 0 {
                return Err(Malformed::Short.into());
            }
        }
    }
}

async fn write(shared: &Shared, out: &mut Vec<u8>) -> io::Result<()> {
    if !out.is_empty() {
        let mut client = shared.client.lock().await;
        client.write_all(out).await?;
        client.flush().await?;
        emptied(out);
    }
    Ok(())
}

/// The server has ended: so does the client's connection.
async fn last(shared: &Shared) -> io::Result<()> {
    timeout(FAREWELL, async { shared.client.lock().await.shutdown().await }).await?
}
