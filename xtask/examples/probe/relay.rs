//! A relay that reads nothing: what one more process on the way costs at the least.

use std::{io::Write as _, net::SocketAddr};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};

/// Bytes of one read.
const PIECE: usize = 32 << 10;

/// Copies both ways, on one thread as the broker does. Writes its port to stdout.
pub(crate) fn serve(to: &str) -> Result<()> {
    let to: SocketAddr = to.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", listener.local_addr()?.port())?;
            out.flush()?;
        }
        loop {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                let mut server = TcpStream::connect(to).await?;
                server.set_nodelay(true)?;
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, PIECE, PIECE).await;
                anyhow::Ok(())
            });
        }
    })
}
