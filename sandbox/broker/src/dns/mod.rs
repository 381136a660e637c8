//! The box's resolver: each name gets a synthetic address of its own, and nothing is asked outside that the policy does not let be read.

mod answer;
mod forward;
mod udp;

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

#[cfg(any(test, fuzzing))]
pub(crate) use answer::Carrier;
pub(crate) use answer::{Reading, Resolver};
pub(crate) use udp::serve as serve_udp;

/// Questions that are worked on at once; more are dropped, as a busy server does, and the client asks again.
const AT_ONCE: usize = 64;

/// How long a TCP client may be silent between two questions.
const IDLE: Duration = Duration::from_secs(10);

/// Questions on one TCP connection.
const MOST_QUESTIONS: usize = 1_000;

/// How many questions may be under way.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// Serves DNS over TCP on a connection that the client opened to port 53 of anywhere.
pub(crate) async fn serve_tcp(mut stream: TcpStream, resolver: Arc<Resolver>) {
    for _ in 0..MOST_QUESTIONS {
        let Ok(Ok(length)) = timeout(IDLE, stream.read_u16()).await else { return };
        let mut question = vec![0; usize::from(length)];
        let Ok(Ok(_)) = timeout(IDLE, stream.read_exact(&mut question)).await else { return };
        let Some(answer) = resolver.answer(&question, answer::Carrier::Tcp).await else { return };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        let Ok(Ok(())) = timeout(IDLE, stream.write_all(&framed)).await else { return };
    }
}
