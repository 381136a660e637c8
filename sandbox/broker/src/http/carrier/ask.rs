//! The broker's end: one HTTP/2 connection to the process that holds the credentials, made at the first use.

use std::{
    os::unix::net::UnixStream as StdStream,
    sync::{Mutex, PoisonError},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::UnixStream, sync::OnceCell};

use super::{
    super::body::Through,
    message::Carried,
    tunnel::{hear, say},
};
use crate::secrets::{Issued, Told};

/// Flow control windows: as towards the far side.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The way to the process that holds the credentials.
#[derive(Debug)]
pub(crate) struct Carrier {
    stream: Mutex<Option<StdStream>>,
    sender: OnceCell<http2::SendRequest<Through>>,
    /// Hears of tokens in answers.
    issued: Issued,
}

/// What the stream is asked for on which the broker hears of tokens.
pub(super) const TOKENS: &str = "tokens:1";

impl Carrier {
    /// Over this socket, whose other end the holder has.
    pub(crate) fn new(stream: StdStream, issued: Issued) -> Self {
        Self { stream: Mutex::new(Some(stream)), sender: OnceCell::new(), issued }
    }

    pub(super) async fn connected(&self) -> Result<http2::SendRequest<Through>, String> {
        let made = self.sender.get_or_try_init(|| async {
            let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or("it could not be reached before")?;
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            let stream = UnixStream::from_std(stream).map_err(|error| error.to_string())?;
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            self.hear(&mut sender).await?;
            Ok::<_, String>(sender)
        });
        made.await.cloned()
    }

    /// Opens the stream on which is told of tokens, and learns them as long as it lasts.
    async fn hear(&self, sender: &mut http2::SendRequest<Through>) -> Result<(), String> {
        let mut request = Request::new(Through::Whole(None, None));
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = http::Uri::from_static(TOKENS);
        sender.ready().await.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| error.to_string())?;
        let issued = self.issued.clone();
        tokio::spawn(async move {
            let mut line = TokioIo::new(upgraded);
            // Where it ends, answers with tokens do not come through any more.
            while let Ok(told) = hear::<Told>(&mut line).await {
                issued.learn(told);
                if say(&mut line, &()).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Hands a request over. Dropping the future takes it back, if nothing was sent yet.
    pub(super) async fn send(&self, head: &Carried, body: Through) -> Result<Response<Incoming>, String> {
        let lost = |why: String| format!("the process that holds the credentials does not answer: {why}");
        let mut sender = self.connected().await.map_err(lost)?;
        let text = serde_json::to_vec(head).map_err(|error| lost(error.to_string()))?;
        let mut bytes = BytesMut::with_capacity(text.len() + 4);
        bytes.put_u32_le(u32::try_from(text.len()).map_err(|_| lost("its head is too long".to_owned()))?);
        bytes.extend_from_slice(&text);
        let mut request = Request::new(body.behind(&bytes));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static("http://carrier/");
        sender.ready().await.map_err(|error| lost(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| lost(error.to_string()))
    }
}

/// What stands before the body, and how much of `bytes` it takes; `None` where more must come.
pub(super) fn head_of(bytes: &[u8], longest: usize) -> Result<Option<(Carried, Bytes)>, String> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > longest {
        return Err("its head is too long".to_owned());
    }
    let Some((head, body)) = rest.split_at_checked(length) else { return Ok(None) };
    let head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    Ok(Some((head, Bytes::copy_from_slice(body))))
}
